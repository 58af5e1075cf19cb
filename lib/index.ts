// `handover`: what authors of servers use.
export { HandoverError, type HandoverErrorCode } from './errors.js';
export type { HandoverEventName, HandoverEvents, Phase } from './events.js';
export { openHandover } from './handover/open.js';
export type { HandoverOptions } from './handover/options.js';
export type { PhaseRecord } from './handover/phase-log.js';
export type { UpgradeOutcome } from './handover/predecessor.js';
export type { CloseHookOptions, Handover, Listener, Listening, ListenOptions } from './handover/types.js';
export type { Logger } from './observe/log.js';
export { type ServeOptions, type ServeSignals, serve } from './serve.js';
