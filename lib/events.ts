// The events that the package publishes on node:diagnostics_channel: names and payload types.
import { type Channel, channel } from 'node:diagnostics_channel';

/** The phases of a handover, in their order. */
export const PHASES = ['PREPARE', 'PROBATION', 'COMMIT', 'MIGRATE', 'DRAIN', 'RETIRE'] as const;
export type Phase = (typeof PHASES)[number];

/** A group of connections that were cut while a process drained, with the same listener, protocol, state and reason. */
export interface CutConnections {
  /** The listener's name. */
  readonly listener: string;
  /** `upgraded`: began as HTTP/1; `raw`: of a server of net or tls; `tls`: the handshake was not done. */
  readonly protocol: 'http1' | 'http2' | 'upgraded' | 'raw' | 'tls';
  readonly isTls: boolean;
  /** `busy`: a request, a response or a stream was under way; for `upgraded` and `raw`: bytes waited in this process. */
  readonly state: 'busy' | 'idle';
  /** The deadline that had passed. */
  readonly reason: 'drainTimeout' | 'drainIdleTimeout';
  readonly connections: number;
  /** Bytes of all these connections since they were accepted. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Age of the oldest connection in ms, since it was accepted. */
  readonly oldestMs: number;
}

/** The requester of a handover. */
export interface Requester {
  /** `app`: code of the app; `takeover`: the process that dialled in; `control`: an operator at the control socket. */
  readonly by: 'app' | 'signal' | 'takeover' | 'supervisor' | 'control';
  readonly signal?: string | undefined;
  readonly pid?: number | undefined;
  readonly uid?: number | undefined;
}

/**
 * The release of a process: the file it was started with, through all symlinks, and the version of the package that has it.
 */
export interface ReleaseName {
  readonly entry: string | undefined;
  readonly version: string | undefined;
}

/** The times of one phase. */
export interface PhaseTimes {
  readonly name: Phase;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
}

/**
 * How a handover can end. `recalled`: the successor failed after it was in charge; `discarded`: a standby was discarded;
 * `predecessor-lost`: the predecessor died, and the successor is in charge.
 */
export const HANDOVER_RESULTS = ['completed', 'failed', 'recalled', 'discarded', 'predecessor-lost'] as const;
export type HandoverResult = (typeof HANDOVER_RESULTS)[number];

/** The counts of a handover that has ended. */
export interface HandoverCounts {
  readonly handoverId: string;
  /** Generation of the predecessor. */
  readonly generation: number;
  readonly result: HandoverResult;
  /** Code of the failure; undefined if there is none. */
  readonly code: string | undefined;
  /** Milliseconds from the request to the end of the handover. */
  readonly durationMs: number;
  readonly phases: readonly PhaseTimes[];
  /** Connections that migrated to the successor (`moved`), that ended or drained (`ended`), and that were cut (`cut`). */
  readonly moved: number;
  readonly ended: number;
  readonly cut: number;
}

/** The payload of each channel; the channel's name is `handover:` and the key. */
export interface HandoverEvents {
  /** A listener or socket was claimed or bound. */
  listen: {
    readonly name: string;
    readonly address: string;
    readonly origin: 'inherited' | 'activated' | 'bound';
  };
  /** A handover from this process was requested. Both processes use this id in their events and records. */
  requested: {
    readonly handoverId: string;
    readonly generation: number;
    readonly requester: Requester;
    /** Directory for CPU profiles of the handover, if they are wanted. */
    readonly profile: string | undefined;
  };
  /** The successor has been started; its app is not loaded yet. */
  spawn: { readonly handoverId: string; readonly pid: number; readonly startedAt: number; readonly durationMs: number };
  /** A step of this process' start has ended (`handover.step()`; `handover:warmup` is the option `warmup`). */
  step: {
    readonly name: string;
    readonly after: readonly string[];
    /** When the step began to run, in milliseconds since the epoch. */
    readonly startedAt: number;
    readonly durationMs: number;
    readonly hasFailed: boolean;
  };
  /** This process entered a phase of a handover. */
  phase: {
    readonly handoverId: string;
    readonly phase: Phase;
    readonly role: 'predecessor' | 'successor';
    readonly generation: number;
  };
  /** This process is in charge from now on. */
  'in-charge': {
    /**
     * The handover that put this process in charge; undefined for a first process, or with a predecessor of an older
     * version.
     */
    readonly handoverId: string | undefined;
    readonly generation: number;
    readonly claimed: readonly string[];
    /**
     * Listeners that were inherited or passed along by a service manager, and that the app did not claim: they are closed.
     */
    readonly unclaimed: readonly string[];
  };
  /** A successor is in charge; this process drains. */
  superseded: { readonly handoverId: string; readonly generation: number; readonly successorPid: number };
  /** A handover failed. */
  failed: {
    readonly handoverId: string;
    readonly generation: number;
    /**
     * Code of the error; `ABORT_ERR` if the requester cancelled the handover, `ERR_HANDOVER_INTERNAL` if the error has
     * none.
     */
    readonly code: string;
    readonly phase: string | undefined;
    readonly stillServing: boolean;
    readonly error: Error;
  };
  /** This process has served its last request. `cut`: connections that did not end before the deadline. */
  drained: {
    /** Undefined where there is no successor. */
    readonly handoverId: string | undefined;
    readonly generation: number;
    /** Connections that migrated to the successor. */
    readonly moved: number;
    /** Connections that ended or drained in this process. */
    readonly ended: number;
    readonly cut: number;
    /** The connections of `cut`, in groups. */
    readonly cutConnections: readonly CutConnections[];
    readonly durationMs: number;
  };
  /** A frame went over the channel to the other process, or came from it. */
  frame: {
    readonly direction: 'sent' | 'received';
    readonly name: string;
    readonly role: 'predecessor' | 'successor';
    /** Number of the batch, in OFFER, HELD, GO and the ABORT of a batch. */
    readonly batch: number | undefined;
    /** In OFFER the connections of the batch; in HELD those that the successor holds. */
    readonly connections: number | undefined;
    /** In the predecessor's HELLO. */
    readonly handoverId: string | undefined;
  };
  /**
   * A handover has ended. The predecessor publishes it once (`role: 'predecessor'`). A successor publishes it for each
   * handover that ended after its own COMMIT (`role: 'successor'`), including those of older generations that still
   * drained.
   */
  outcome: HandoverCounts & {
    readonly role: 'predecessor' | 'successor';
    /**
     * True once for each handover, over all processes: in the predecessor, or in the successor if the predecessor has died.
     */
    readonly isFirstHand: boolean;
    /** The last phase of the handover. */
    readonly phase: string | undefined;
    /** Connections that the successor owned when it failed, by its last heartbeat: migrated ones and its own. */
    readonly lost: number | undefined;
    /** Known to the predecessor only, as the members below. */
    readonly requester: Requester | undefined;
    readonly from: ReleaseName | undefined;
    /** Undefined if the successor sent no HELLO. */
    readonly to: ReleaseName | undefined;
    readonly successorPid: number | undefined;
  };
  /** A standby ended before it was committed. */
  'standby-lost': { readonly handoverId: string; readonly generation: number; readonly error: Error };
  /** A process that asked to take over was refused. */
  'takeover-refused': { readonly uid: number; readonly pid: number | undefined; readonly reason: string };
  /** A process that asked to control this one was refused. */
  'control-refused': { readonly uid: number; readonly pid: number | undefined };
  /**
   * This process serves on after a failed handover, and its app had begun to end: the app may have stopped more than its
   * servers.
   */
  'app-recalled': { readonly generation: number };
  /** This process should have ended and has not; `resources` keep it alive. */
  stuck: { readonly generation: number; readonly resources: readonly string[] };
  /** A server has another certificate for new handshakes (`reloadCertificates`). */
  certificates: { readonly subject: string; readonly fingerprint256: string; readonly validTo: string };
  /** Watched files hold no usable pair; the pair in use stays. */
  'certificates-refused': { readonly key: string; readonly cert: string; readonly error: Error };
  /**
   * A part failed or did not end in time, and nothing else stops because of it: a hook of `onClose`, by its name; one of
   * `migrate`, as `migrate.save`; a duty of `whenInCharge`; the pid file or a socket of a process that serves all the same;
   * an observer (`log`, `audit`, `timeline`, `profile` or `metrics`) that cannot write or has thrown.
   */
  'hook-failed': { readonly name: string; readonly error: Error };
}

export type HandoverEventName = keyof HandoverEvents;

/**
 * Channels in use. Node holds a channel weakly while it has no subscriber. If one is collected and made again, the finalizer
 * of the first takes the second out of Node's table, and its subscribers hear nothing more (FACTS N16).
 */
const held = new Map<HandoverEventName, Channel>();

/** The diagnostics channel of one event. */
export function eventChannel<N extends HandoverEventName>(name: N): Channel<unknown, HandoverEvents[N]> {
  const found = held.get(name) ?? channel(`handover:${name}`);
  held.set(name, found);
  return found as Channel<unknown, HandoverEvents[N]>;
}

/** Publishes one event. */
export function publish<N extends HandoverEventName>(name: N, payload: HandoverEvents[N]): void {
  eventChannel(name).publish(payload);
}
