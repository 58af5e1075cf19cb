// What the package publishes on node:diagnostics_channel: names and payload types. Nobody has to listen.
import { type Channel, channel } from 'node:diagnostics_channel';

/** The phases of a handover, in their order. */
export type Phase = 'PREPARE' | 'PROBATION' | 'COMMIT' | 'MIGRATE' | 'DRAIN' | 'RETIRE';

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

/** The payload of each channel; the channel's name is `handover:` and the key. */
export interface HandoverEvents {
  /** A listener or socket was claimed or bound. */
  listen: {
    readonly name: string;
    readonly address: string;
    readonly origin: 'inherited' | 'activated' | 'bound';
  };
  /** This process entered a phase of a handover. */
  phase: { readonly phase: Phase; readonly role: 'predecessor' | 'successor'; readonly generation: number };
  /** This process is in charge from now on. */
  'in-charge': {
    readonly generation: number;
    readonly claimed: readonly string[];
    /** Inherited or passed along by a supervisor, claimed by nobody, closed. */
    readonly unclaimed: readonly string[];
  };
  /** A successor is in charge; this process drains. */
  superseded: { readonly generation: number; readonly successorPid: number };
  /** A handover failed. */
  failed: {
    readonly generation: number;
    readonly code: string;
    readonly phase: string | undefined;
    readonly stillServing: boolean;
    readonly error: Error;
  };
  /** This process has served its last request. `cut`: connections that did not end before the deadline. */
  drained: {
    readonly generation: number;
    /** Connections that went on in the successor. */
    readonly moved: number;
    readonly cut: number;
    /** What these were. */
    readonly cutConnections: readonly CutConnections[];
    readonly durationMs: number;
  };
  /** A frame went over the channel to the other process, or came from it. */
  frame: { readonly direction: 'sent' | 'received'; readonly name: string; readonly role: 'predecessor' | 'successor' };
  /** A standby ended before it was committed. */
  'standby-lost': { readonly generation: number; readonly error: Error };
  /** A process that asked to take over was refused. */
  'takeover-refused': { readonly uid: number; readonly pid: number | undefined; readonly reason: string };
  /** A process that asked to control this one was refused. */
  'control-refused': { readonly uid: number; readonly pid: number | undefined };
  /** This process should have ended and has not: what keeps it alive. */
  stuck: { readonly generation: number; readonly resources: readonly string[] };
  /** A server has another certificate for new handshakes (`reloadCertificates`). */
  certificates: { readonly subject: string; readonly fingerprint256: string; readonly validTo: string };
  /** Watched files hold no pair that can be used; the one before stays. */
  'certificates-refused': { readonly key: string; readonly cert: string; readonly error: Error };
  /**
   * What stops nothing else failed or did not end in time: a hook of `onClose`, by its name; one of `migrate`, as
   * `migrate.save`; a duty of `whenInCharge`; the pid file or a socket of a process that serves anyhow.
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
