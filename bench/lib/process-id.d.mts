// The types of process-id.mjs.

/** One process, told from a later one that got the same pid by when it was started. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot; empty where there is no /proc. */
  readonly startTime: string;
}

/** The process that has this pid now; undefined when there is none, or only a zombie. */
export function identify(pid: number): ProcessId | undefined;
/** Whether that very process still runs. */
export function isAlive(id: ProcessId): boolean;
/** Sends a signal to that very process; false when it has gone. */
export function signal(id: ProcessId, name: NodeJS.Signals): boolean;
/** For each `NAME=value`: every living process that was started with it, also one that has left our tree. Linux only. */
export function marked(...assignments: readonly string[]): ProcessId[][];
/** The command line, for messages. */
export function commandOf(pid: number): string;
