// Other processes as /proc shows them. The functions return undefined where there is no /proc, or no such process in it.
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { type ProcessStat, processStat } from '../fd/proc.js';

/** A process, as other processes see it. */
export interface Neighbour extends Pick<ProcessStat, 'name' | 'parent' | 'group' | 'hasTerminal'> {
  readonly pid: number;
  /** The command line; the name where the command line is empty, as that of a kernel thread is. */
  readonly words: readonly string[];
  readonly cgroup: string;
}

/** The process and its ancestors, nearest first. Empty where /proc does not show this pid namespace. */
export function lineageOf(pid: number): Neighbour[] {
  const lineage: Neighbour[] = [];
  if (linkOf('/proc/self') !== String(process.pid)) return lineage;
  for (let next = pid; next > 0 && lineage.length < 64; ) {
    const neighbour = neighbourOf(next);
    if (!neighbour) break;
    lineage.push(neighbour);
    next = neighbour.parent;
  }
  return lineage;
}

/** The control groups of a process as a text to compare: the path in each hierarchy (cgroups(7)). */
export function cgroupOf(pid: number | 'self'): string | undefined {
  return read(`/proc/${pid}/cgroup`);
}

/** Number of children of a process that were not reaped; undefined where the kernel does not say (proc_pid_children(5)). */
export function childrenOf(pid: number): number | undefined {
  return read(`/proc/${pid}/task/${pid}/children`)?.trim().split(' ').filter(Boolean).length;
}

/** Whether this is the first pid namespace of the machine, whose inode is fixed in the kernel. True where /proc does not say. */
export function isFirstPidNamespace(): boolean {
  try {
    return statSync('/proc/self/ns/pid').ino === 0xef_ff_ff_fc;
  } catch {
    return true;
  }
}

function neighbourOf(pid: number): Neighbour | undefined {
  const stat = processStat(pid);
  if (stat === undefined) return undefined;
  const { name, parent, group, hasTerminal } = stat;
  const words = (read(`/proc/${pid}/cmdline`) ?? '').split('\0').filter(Boolean);
  return {
    pid,
    name,
    parent,
    group,
    hasTerminal,
    words: words.length > 0 ? words : [name],
    cgroup: cgroupOf(pid) ?? '',
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
