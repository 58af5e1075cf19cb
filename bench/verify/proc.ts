// Memory, descriptors and sockets as the kernel shows them in /proc.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { processStat } from '../../dist/fd/proc.js';
import type { ProcessId } from '../lib/process-id.mjs';

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // It has gone meanwhile, or is another user's.
    return undefined;
  }
}

/** Those of `known` that have ended and that a living process, other than pid 1, should have waited for. */
export function zombies(known: readonly ProcessId[]): number[] {
  return known.flatMap(({ pid, startTime }) => {
    const stat = processStat(pid);
    return stat?.state === 'Z' && stat.startTime === startTime && stat.parent !== 1 ? [pid] : [];
  });
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number | undefined {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1_024;
}

/** What each descriptor leads to. */
function descriptorsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap((fd) => {
      try {
        return [readlinkSync(`${folder}/${fd}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

/**
 * For each process its descriptors without those of connections that clients have open just now, one for each: they come
 * and go with the load. A second descriptor of a connection counts, and so does one whose client has gone.
 */
export function ownDescriptors(processes: readonly number[], ports: readonly number[]): number[] {
  // First the descriptors: a connection that is accepted in between is in neither.
  const descriptors = processes.map(descriptorsOf);
  const established = connectionInodes(ports);
  return descriptors.map((targets) => {
    const held = new Set(targets.filter((target) => established.has(target)));
    return targets.length - held.size;
  });
}

const ESTABLISHED = '01';
const LISTEN = '0A';

interface TcpRow {
  readonly port: number;
  readonly state: string;
  readonly inode: string;
}

/** The rows of these local ports; there are tens of thousands of others on a busy machine. */
function tcp(ports: readonly number[]): TcpRow[] {
  const hex = ports.map((port) => port.toString(16).toUpperCase().padStart(4, '0'));
  const rows = new RegExp(`^ *\\d+: [0-9A-F]+:(?:${hex.join('|')}) .*$`, 'gm');
  return [...(read('/proc/net/tcp') ?? '').matchAll(rows)].map(([line]) => {
    const [, local = '', , state = '', , , , , , inode = ''] = line.trim().split(/\s+/);
    return { port: Number.parseInt(local.split(':')[1] ?? '', 16), state, inode };
  });
}

function connectionInodes(ports: readonly number[]): ReadonlySet<string> {
  const rows = tcp(ports).filter(({ state }) => state === ESTABLISHED);
  return new Set(rows.map(({ inode }) => `socket:[${inode}]`));
}

/** Those of `ports` that somebody listens on. */
export function listening(ports: readonly number[]): number[] {
  return tcp(ports).flatMap(({ port, state }) => (state === LISTEN ? [port] : []));
}

/** Whether that process has the file open. */
export function hasOpen(pid: number, path: string): boolean {
  return descriptorsOf(pid).includes(path);
}

export interface ListenCounters {
  readonly ListenOverflows: number;
  readonly ListenDrops: number;
}

/** Of this network namespace, proc_pid_net(5): a line of names, a line of values. */
export function listenCounters(): ListenCounters {
  const [names = '', values = ''] = (read('/proc/net/netstat') ?? '')
    .split('\n')
    .filter((line) => /^TcpExt:/.test(line));
  const at = (name: string): number => Number(values.split(' ')[names.split(' ').indexOf(name)] ?? Number.NaN);
  return { ListenOverflows: at('ListenOverflows'), ListenDrops: at('ListenDrops') };
}

/**
 * Connections the listeners at these ports have dropped since they began to listen, as `ss` (iproute2) shows it: the counters
 * above are those of a whole network namespace, in which others may drop some, too. Undefined without it.
 */
export function dropsOf(ports: readonly number[]): number | undefined {
  const { stdout, status } = spawnSync('ss', ['-Hltmn'], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const listeners = stdout.replaceAll(/\n\s+skmem/g, ' skmem').split('\n');
  const drops = listeners.flatMap((line) => {
    const [, port, dropped] = /:(\d+) .*skmem:\([^)]*,d(\d+)\)/.exec(line) ?? [];
    return ports.includes(Number(port)) ? [Number(dropped)] : [];
  });
  return drops.length === ports.length ? drops.reduce((sum, dropped) => sum + dropped, 0) : undefined;
}
