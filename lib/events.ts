// What the package publishes on node:diagnostics_channel: names and payload types. Nobody has to listen.
import { type Channel, channel } from 'node:diagnostics_channel';

/** The phases of a handover, in their order. */
export const PHASES = ['PREPARE', 'PROBATION', 'COMMIT', 'MIGRATE', 'DRAIN', 'RETIRE'] as const;
export type Phase = (typeof PHASES)[number];

/** Connections that were cut while a process drained, alike in all that is told of them. */
export interface CutConnections {
  /** The listener's name. */
  readonly listener: string;
  /** `upgraded`: began as HTTP/1; `raw`: of a server of net or tls; `tls`: its handshake was not over. */
  readonly protocol: 'http1' | 'http2' | 'upgraded' | 'raw' | 'tls';
  readonly isTls: boolean;
  /** `busy`: a request, a response or a stream was under way; upgraded and raw: bytes waited in this process. */
  readonly state: 'busy' | 'idle';
  /** Which deadline had passed. */
  readonly reason: 'drainTimeout' | 'drainIdleTimeout';
  readonly connections: number;
  /** By all of them, from their beginning. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Age of the oldest, since it was accepted. */
  readonly oldestMs: number;
}

/** Who asked for a handover. */
export interface Requester {
  /** `app`: its own code; `takeover`: the process that dialled in; `control`: an operator on the control socket. */
  readonly by: 'app' | 'signal' | 'takeover' | 'supervisor' | 'control';
  readonly signal?: string | undefined;
  readonly pid?: number | undefined;
  readonly uid?: number | undefined;
}

/** What a process runs: the file it was started with, through all symlinks, and the version of the package that holds it. */
export interface ReleaseName {
  readonly entry: string | undefined;
  readonly version: string | undefined;
}

/** One phase as it was. */
export interface PhaseTimes {
  readonly name: Phase;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
}

/**
 * How a handover can end. `recalled`: the successor failed after it was in charge; `discarded`: a standby was not wanted;
 * `predecessor-lost`: the successor is in charge because the process that gave has died.
 */
export const HANDOVER_RESULTS = ['completed', 'failed', 'recalled', 'discarded', 'predecessor-lost'] as const;
export type HandoverResult = (typeof HANDOVER_RESULTS)[number];

/** All that is counted of a handover that is over. */
export interface HandoverCounts {
  readonly handoverId: string;
  /** Of the process that gave. */
  readonly generation: number;
  readonly result: HandoverResult;
  /** Of the failure, where it is one. */
  readonly code: string | undefined;
  /** From the request to the end of the process that gave. */
  readonly durationMs: number;
  readonly phases: readonly PhaseTimes[];
  /** Connections that went on in the successor, ended by themselves or politely, and did not end before the deadline. */
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
  /** Somebody asked this process for a handover: its id is from here on known to both processes, and to nobody else's. */
  requested: {
    readonly handoverId: string;
    readonly generation: number;
    readonly requester: Requester;
    /** Where profiles of it are wanted. */
    readonly profile: string | undefined;
  };
  /** The successor has been started; it has yet to load. */
  spawn: { readonly handoverId: string; readonly pid: number; readonly startedAt: number; readonly durationMs: number };
  /** A step of this process' start has ended (`handover.step()`; `handover:warmup` is the option `warmup`). */
  step: {
    readonly name: string;
    readonly after: readonly string[];
    /** Milliseconds since the epoch: when it began to run. */
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
    /** Of the handover it came by; undefined where it is the first, or its predecessor too old to say. */
    readonly handoverId: string | undefined;
    readonly generation: number;
    readonly claimed: readonly string[];
    /** Inherited or passed along by a supervisor, claimed by nobody, closed. */
    readonly unclaimed: readonly string[];
  };
  /** A successor is in charge; this process drains. */
  superseded: { readonly handoverId: string; readonly generation: number; readonly successorPid: number };
  /** A handover failed. */
  failed: {
    readonly handoverId: string;
    readonly generation: number;
    /** The error's own; `ABORT_ERR` where whoever asked cancelled it, `ERR_HANDOVER_INTERNAL` where it has none. */
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
    /** Connections that went on in the successor. */
    readonly moved: number;
    /** Those that ended in this process, by themselves or politely. */
    readonly ended: number;
    readonly cut: number;
    /** What these were. */
    readonly cutConnections: readonly CutConnections[];
    readonly durationMs: number;
  };
  /** A frame went over the channel to the other process, or came from it. */
  frame: {
    readonly direction: 'sent' | 'received';
    readonly name: string;
    readonly role: 'predecessor' | 'successor';
    /** Of OFFER, HELD, GO and the ABORT of a batch: its number. */
    readonly batch: number | undefined;
    /** Of OFFER: connections in the batch; of HELD: those the successor holds. */
    readonly connections: number | undefined;
    /** Of the predecessor's HELLO. */
    readonly handoverId: string | undefined;
  };
  /**
   * A handover is over: published once by the process that gave (`role: 'predecessor'`), and in the one it was given to for
   * each that ended since (`role: 'successor'`: also those of older generations, which had drained on).
   */
  outcome: HandoverCounts & {
    readonly role: 'predecessor' | 'successor';
    /** Of each handover once, over all processes: this one gave, or learned that the one that gave has died. */
    readonly isFirstHand: boolean;
    /** The last phase it was in. */
    readonly phase: string | undefined;
    /** Connections the successor owned when it failed, as far as it had said: those that had moved, and its own. */
    readonly lost: number | undefined;
    /** Known to the process that gave. */
    readonly requester: Requester | undefined;
    readonly from: ReleaseName | undefined;
    /** Undefined where the successor never said it. */
    readonly to: ReleaseName | undefined;
    readonly successorPid: number | undefined;
  };
  /** A standby ended before it was committed. */
  'standby-lost': { readonly handoverId: string; readonly generation: number; readonly error: Error };
  /** A process that asked to take over was refused. */
  'takeover-refused': { readonly uid: number; readonly pid: number | undefined; readonly reason: string };
  /** A process that asked to control this one was refused. */
  'control-refused': { readonly uid: number; readonly pid: number | undefined };
  /** A process that serves on after a failed handover, whose app had begun to end: it may have stopped more than its servers. */
  'app-recalled': { readonly generation: number };
  /** This process should have ended and has not: what keeps it alive. */
  stuck: { readonly generation: number; readonly resources: readonly string[] };
  /** A server has another certificate for new handshakes (`reloadCertificates`). */
  certificates: { readonly subject: string; readonly fingerprint256: string; readonly validTo: string };
  /** Watched files hold no pair that can be used; the one before stays. */
  'certificates-refused': { readonly key: string; readonly cert: string; readonly error: Error };
  /**
   * What stops nothing else failed or did not end in time: a hook of `onClose`, by its name; one of `migrate`, as
   * `migrate.save`; a duty of `whenInCharge`; the pid file or a socket of a process that serves anyhow; `log`, `audit`,
   * `timeline`, `profile` or `metrics`: who looks on, and cannot write or has thrown.
   */
  'hook-failed': { readonly name: string; readonly error: Error };
}

export type HandoverEventName = keyof HandoverEvents;

/** The diagnostics channel of one event. */
export function eventChannel<N extends HandoverEventName>(name: N): Channel<unknown, HandoverEvents[N]> {
  return channel(`handover:${name}`) as Channel<unknown, HandoverEvents[N]>;
}

/** Publishes one event. */
export function publish<N extends HandoverEventName>(name: N, payload: HandoverEvents[N]): void {
  eventChannel(name).publish(payload);
}
