// Processes as /proc shows them (proc(5)).
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessStat {
  readonly name: string;
  /** `Z`: it has ended, and nobody has waited for it. `X`: it is about to go. */
  readonly state: string;
  /** 0: none in this pid namespace. */
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly hasTerminal: boolean;
  /** Clock ticks from boot to its start: tells it from a later process with the same pid. */
  readonly startTime: string;
  /** Clock ticks of CPU of those of its children, and theirs, that have ended and were waited for. */
  readonly endedChildrenTicks: number;
}

/** Of a living process or a zombie, or of one thread (`PID/task/TID`). @throws SystemError there is none, or no /proc */
export function readProcessStat(pid: number | string): ProcessStat {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold blanks and parentheses itself; the third field is the first behind it.
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  const at = (field: number): string => fields[field - 3] ?? '';
  return {
    name: text.slice(text.indexOf('(') + 1, end),
    state: at(3),
    parent: Number(at(4)),
    group: Number(at(5)),
    session: Number(at(6)),
    hasTerminal: at(7) !== '0',
    startTime: at(22),
    endedChildrenTicks: Number(at(16)) + Number(at(17)),
  };
}

/** The same; undefined where there is none, or no /proc. */
export function processStat(pid: number | string): ProcessStat | undefined {
  try {
    return readProcessStat(pid);
  } catch {
    return undefined;
  }
}

export function hasEnded({ state }: ProcessStat): boolean {
  return state === 'Z' || state === 'X';
}

export function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}
