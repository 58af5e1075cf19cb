// `handover`: the entry for authors of servers.

export type { ListenAddress } from './endpoints/endpoint.js';
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
export type { UpgradeOutcome } from './handover/outcome.js';
export type { PhaseRecord } from './handover/phase-log.js';
export type { Logger } from './observe/log.js';
export type { SuccessorCommand, SuccessorEnv } from './platform/command.js';
export type { Command } from './platform/env.js';
export type { Check } from './platform/preflight.js';
export type { SystemdOptions } from './platform/service-manager.js';
export type { TakeoverOptions } from './platform/takeover.js';
export type { HealthEndpointOptions } from './process/health-endpoint.js';
export type { HandoverOptions, TimelineOptions } from './process/options.js';
export type { ServeSignals } from './process/process-signals.js';
export type { Standby } from './process/standby.js';
export type { StepOptions } from './process/steps.js';
export type {
  CloseHookOptions,
  Handover,
  Listener,
  Listening,
  ListenOptions,
  UpgradeOptions,
} from './process/types.js';
export type { ListenerStatus } from './protocol/control-commands.js';
export type { Claims, DrainingGeneration } from './protocol/frames.js';
export type { Migration } from './protocols/migration.js';
export type { Inherited, Keepable, KeptValue } from './resources/kept.js';
export { openHandover } from './serve/open-handover.js';
export { type ServeOptions, serve } from './serve/serve.js';
