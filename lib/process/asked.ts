// The process and the supervisor as the answers to an operator's questions see them.
import type { HandoverError } from '../errors.js';
import type { UpgradeOutcome } from '../handover/outcome.js';
import type { Env } from '../platform/env.js';
import type { Release } from '../platform/release.js';
import type { Start } from '../platform/start.js';
import type { ChargeStatus, ListenerStatus, RollAnswer } from '../protocol/control-commands.js';
import type { DrainingGeneration } from '../protocol/frames.js';
import type { Params } from '../protocol/rpc.js';
import type { CheckedOptions } from './options.js';
import type { Resources } from './resources.js';
import type { Standby } from './standby.js';
import type { UpgradeOptions } from './types.js';

/** The state of the process. */
export interface ProcessDescription {
  readonly generation: number;
  readonly isInCharge: boolean;
  readonly phase: string;
  readonly connectionCount: number;
  readonly draining: readonly DrainingGeneration[];
}

/** What the process does at an operator's request. */
export interface ProcessOrders {
  upgrade(options?: UpgradeOptions): Promise<UpgradeOutcome>;
  prepare(options?: UpgradeOptions): Promise<Standby>;
  /** Aborts the handover under way, or a waiting standby. Resolves when it has ended, with its last phase. */
  abortUpgrade(reason: HandoverError): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface AskedProcess {
  describe(): ProcessDescription;
  readonly orders: ProcessOrders;
  readonly resources: Pick<Resources, 'listeners' | 'arbiter'>;
  readonly env: Env;
  readonly options: CheckedOptions;
  readonly start: Start;
}

export interface AskedSupervisor {
  readonly supervisor: {
    readonly listeners: readonly ListenerStatus[];
    readonly charges: readonly ChargeStatus[];
    readonly releases: { readonly old: { readonly print: Release }; readonly young: { readonly print: Release } };
    readonly workerCount: number;
    /** The supervisor and its workers, in the supervisor's own words. */
    status(): Promise<Params>;
  };
  resume(): Promise<RollAnswer>;
  rollBack(): Promise<RollAnswer>;
}
