// Processes as the kernel shows them: who lives, whose child it is, what it was started with. Reads /proc; elsewhere it
// knows what kill(2) with signal 0 and ps(1) tell.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { until } from './until.js';

/** One process, told from a later one that got the same pid by when it was started. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of proc(5) stat; empty where there is no /proc. */
  readonly startTime: string;
}

interface Stat {
  readonly state: string;
  readonly parent: number;
  readonly startTime: string;
}

const hasProc = process.platform === 'linux';

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It has gone between the listing and the reading, or is another user's.
    return undefined;
  }
}

function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  // The name, in parentheses, may hold anything; the fields begin after the last one.
  const [state, parent, ...rest] = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  const startTime = rest[17];
  if (state === undefined || startTime === undefined) return undefined;
  return { state, parent: Number(parent), startTime };
}

function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** The process that has this pid now; undefined when there is none, or only a zombie. */
export function identify(pid: number): ProcessId | undefined {
  if (hasProc) {
    const stat = statOf(pid);
    return stat === undefined || 'ZX'.includes(stat.state) ? undefined : { pid, startTime: stat.startTime };
  }
  try {
    process.kill(pid, 0);
    return { pid, startTime: '' };
  } catch {
    return undefined;
  }
}

/** Whether that very process still runs: a zombie does not, another process under the same pid is not it. */
export function alive(id: ProcessId): boolean {
  return identify(id.pid)?.startTime === id.startTime;
}

/** Sends a signal to that very process; false when it has gone. */
export function signal(id: ProcessId, name: NodeJS.Signals): boolean {
  if (!alive(id)) return false;
  try {
    return process.kill(id.pid, name);
  } catch {
    return false;
  }
}

/** Resolves when that very process has gone; for a process that is not our child, so that no event tells. */
export async function gone(id: ProcessId, timeout = 10_000): Promise<void> {
  await until(() => !alive(id), { what: `process ${id.pid} (${commandOf(id.pid)}) to end`, timeout, interval: 5 });
}

/** The command line, for messages. */
export function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ').trim() || 'command unknown';
}

/** The children of this process that run or wait to be reaped: pid to command line. */
export function childProcesses(): Map<number, string> {
  if (!hasProc) return childrenByPs();
  const children = allPids().filter((pid) => statOf(pid)?.parent === process.pid);
  return new Map(children.map((pid) => [pid, commandOf(pid)]));
}

function childrenByPs(): Map<number, string> {
  const ps = spawnSync('ps', ['-A', '-o', 'ppid=,pid=,command='], { encoding: 'utf8' });
  const children = new Map<number, string>();
  for (const line of ps.stdout.split('\n')) {
    const [, parent, pid, command = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    if (Number(parent) === process.pid && Number(pid) !== ps.pid) children.set(Number(pid), command);
  }
  return children;
}

/**
 * Every process that was started with `name=value` in its environment, by us or by a descendant of ours, also one that
 * has left our process tree. Empty where there is no /proc.
 */
export function processesMarked(name: string, value: string): ProcessId[] {
  if (!hasProc) return [];
  return allPids()
    .filter((pid) => pid !== process.pid && read(`/proc/${pid}/environ`)?.split('\0').includes(`${name}=${value}`))
    .map(identify)
    .filter((id) => id !== undefined);
}
