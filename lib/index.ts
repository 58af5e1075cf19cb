// `handover`: what authors of servers use.

export type { Migration } from './connections/raw.js';
export type { ServeSignals } from './ending.js';
export { HandoverError, type HandoverErrorCode, type HandoverErrorDetails } from './errors.js';
export type {
  CutConnections,
  HandoverCounts,
  HandoverEventName,
  HandoverEvents,
  HandoverResult,
  Phase,
  ReleaseName,
  Requester,
} from './events.js';
export type { PeerCredentials, RawSocketOption } from './fd/index.js';
export type { SuccessorCommand, SuccessorEnv } from './handover/command.js';
export type { Command } from './handover/env.js';
export type { HealthEndpointOptions } from './handover/health-endpoint.js';
export type { Inherited, Keepable } from './handover/kept.js';
export type { HandoverOptions, TimelineOptions } from './handover/options.js';
export type { UpgradeOutcome } from './handover/outcome.js';
export type { PhaseRecord } from './handover/phase-log.js';
export type { Check } from './handover/preflight.js';
export type { SystemdOptions } from './handover/service-manager.js';
export type { Standby } from './handover/standby.js';
export type { StepOptions } from './handover/steps.js';
export type { TakeoverOptions } from './handover/takeover.js';
export type { CloseHookOptions, Handover, Listener, Listening, ListenOptions } from './handover/types.js';
export type { UpgradeOptions } from './handover/upgrades.js';
export type { ListenAddress } from './ledger/address.js';
export type { Logger } from './observe/log.js';
export { openHandover } from './observed.js';
export type { Claims, DrainingGeneration } from './protocol/frames.js';
export { type ServeOptions, serve } from './serve.js';
