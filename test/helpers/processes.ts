// Processes as the kernel shows them: who lives, whose child it is, what it was started with. Reads /proc; elsewhere it
// knows what kill(2) with signal 0 and ps(1) tell.
import { spawnSync } from 'node:child_process';
import { commandOf, isAlive, marked, type ProcessId } from '../../bench/lib/process-id.mjs';
import { allPids, processStat } from '../../lib/fd/proc.js';
import { until } from './until.js';

export { commandOf, identify, isAlive as alive, type ProcessId, signal } from '../../bench/lib/process-id.mjs';

const hasProc = process.platform === 'linux';

/** Resolves when that very process has gone; for a process that is not our child, so that no event tells. */
export async function gone(id: ProcessId, timeout = 30_000): Promise<void> {
  await until(() => !isAlive(id), { what: `process ${id.pid} (${commandOf(id.pid)}) to end`, timeout, interval: 5 });
}

/** The children of this process that run or wait to be reaped: pid to command line. */
export function childProcesses(): Map<number, string> {
  if (!hasProc) return childrenByPs();
  const children = allPids().filter((pid) => processStat(pid)?.parent === process.pid);
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
  return marked(`${name}=${value}`).flat();
}

/** Resolves when the kernel says that the process has stopped, by SIGSTOP or a debugger. */
export async function untilStopped(pid: number): Promise<void> {
  await until(() => processStat(pid)?.state === 'T', { what: `process ${pid} to stop`, interval: 2 });
}
