// The doctor's checks of the kernel and the process. Each gives a value, and for a bad value what is wrong, why it matters and
// the command that fixes it.
import { readdirSync } from 'node:fs';
import { DEFAULT_BACKLOG } from '../fd/listener.js';
import { memoryHeadroom } from '../platform/preflight.js';
import type { Machine } from './machine.js';

export type Severity = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly name: string;
  readonly severity: Severity;
  readonly value: string;
  /** `wrong`, `why` and `fix` are set unless the severity is `ok`. */
  readonly wrong?: string;
  readonly why?: string;
  /** A command to type. */
  readonly fix?: string;
}

/** A check; undefined where the machine does not have the thing that is checked. */
export type Check = (machine: Machine) => Finding | undefined;

/** A check that a value of sysctl(8) is at least the minimum. */
function atLeast(name: string, minimum: (machine: Machine) => number, why: string): Check {
  return (machine) => {
    const [value] = machine.sysctl(name) ?? [];
    if (value === undefined) return undefined;
    const needed = minimum(machine);
    if (value >= needed) return { name, severity: 'ok', value: String(value) };
    const wrong = `${value} is less than ${needed}`;
    return { name, severity: 'warn', value: String(value), wrong, why, fix: `sysctl -w ${name}=${roomy(needed)}` };
  };
}

/** The next power of two, at least 4096. */
function roomy(needed: number): number {
  return Math.max(4096, 2 ** Math.ceil(Math.log2(needed)));
}

function largestBacklog({ status }: Machine): number {
  return Math.max(DEFAULT_BACKLOG, ...(status?.listeners ?? []).map(({ backlogAsked = 0 }) => backlogAsked));
}

function portRange(machine: Machine): Finding | undefined {
  const name = 'net.ipv4.ip_local_port_range';
  const [low, high] = machine.sysctl(name) ?? [];
  if (low === undefined || high === undefined) return undefined;
  const value = `${low} to ${high}`;
  const reserved = machine.text('/proc/sys/net/ipv4/ip_local_reserved_ports')?.split(',') ?? [];
  const inRange = tcpPorts(machine).filter((port) => port >= low && port <= high && !isReserved(port, reserved));
  if (inRange.length > 0) {
    const ports = inRange.join(',');
    return {
      name,
      severity: 'warn',
      value,
      wrong: `the listener on port ${ports} is inside the range`,
      why: 'an outgoing connection can take the port while no process listens, and then a plain restart fails with EADDRINUSE',
      fix: `sysctl -w net.ipv4.ip_local_reserved_ports=${ports}`,
    };
  }
  if (high - low + 1 >= 10_000) return { name, severity: 'ok', value };
  return {
    name,
    severity: 'warn',
    value,
    wrong: `only ${high - low + 1} ports`,
    why: 'each outgoing connection to one address needs a port, also while it is in TIME_WAIT: a proxy runs out of ports',
    fix: `sysctl -w ${name}="32768 60999"`,
  };
}

/** The ports of the TCP listeners, without those that the kernel chose for port 0. */
function tcpPorts({ status }: Machine): number[] {
  const ports = (status?.listeners ?? []).map(({ address }) => /^tcp:.*:(\d+)(\?|$)/.exec(address)?.[1]);
  return ports.flatMap((port) => (port === undefined || port === '0' ? [] : [Number(port)]));
}

function isReserved(port: number, reserved: readonly string[]): boolean {
  return reserved.some((range) => {
    const [low, high = low] = range.split('-').map(Number);
    return low !== undefined && high !== undefined && port >= low && port <= high;
  });
}

function timeWaitReuse(machine: Machine): Finding | undefined {
  const name = 'net.ipv4.tcp_tw_reuse';
  const [value] = machine.sysctl(name) ?? [];
  if (value === undefined) return undefined;
  if (value !== 0) return { name, severity: 'ok', value: String(value) };
  return {
    name,
    severity: 'warn',
    value: '0',
    wrong: 'ports in TIME_WAIT are never used again',
    why: 'a process that opens many outgoing connections runs out of ports',
    fix: `sysctl -w ${name}=1`,
  };
}

function migrateRequests(machine: Machine): Finding | undefined {
  const name = 'net.ipv4.tcp_migrate_req';
  const [value] = machine.sysctl(name) ?? [];
  if (value === undefined) return undefined;
  const shared = machine.status?.listeners.filter(({ reusePort }) => reusePort).map((listener) => listener.name) ?? [];
  if (value !== 0 || shared.length === 0) return { name, severity: 'ok', value: String(value) };
  return {
    name,
    severity: 'warn',
    value: '0',
    wrong: `the listener ${shared.join(', ')} uses reusePort`,
    why: 'closing one listener of a SO_REUSEPORT group resets every connection in its queue; one shared listener loses none',
    fix: `sysctl -w ${name}=1`,
  };
}

function overflows(name: string, why: string): Check {
  return (machine) => {
    const value = machine.counter('TcpExt', name);
    if (value === undefined) return undefined;
    if (value === 0) return { name, severity: 'ok', value: '0' };
    const wrong = `${value} since the machine (or this network namespace) was started`;
    return { name, severity: 'warn', value: String(value), wrong, why, fix: `nstat -az TcpExt${name}` };
  };
}

function openFiles(machine: Machine): Finding | undefined {
  const name = 'RLIMIT_NOFILE';
  const [, soft] = /^Max open files\s+(\S+)/m.exec(machine.text(machine.processFile('limits')) ?? '') ?? [];
  if (soft === undefined) return undefined;
  const limit = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  const open = machine.status && countOf(machine.path(machine.processFile('fd')));
  const value = open === undefined ? soft : `${open} of ${soft} open`;
  const why =
    'every connection, listener and handover needs descriptors, and a full table refuses connections (Node raises the soft limit to the hard one)';
  const fix = 'LimitNOFILE=65536 in the systemd unit, or ulimit -n 65536 before the start';
  if (open !== undefined && open > limit * 0.9)
    return { name, severity: 'fail', value, wrong: 'the table is nearly full', why, fix };
  if (limit < 4096) return { name, severity: 'warn', value, wrong: `${soft} is little for a server`, why, fix };
  return { name, severity: 'ok', value };
}

function countOf(folder: string): number | undefined {
  try {
    return readdirSync(folder).length;
  } catch {
    return undefined;
  }
}

function memory(machine: Machine): Finding | undefined {
  const name = 'cgroup memory';
  const headroom = memoryHeadroom(machine.path('/sys/fs/cgroup'), machine.path(machine.processFile('cgroup')));
  if (headroom === undefined) return { name, severity: 'ok', value: 'no limit' };
  const value = `${mebibytes(headroom)} left`;
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(machine.text(machine.processFile('status')) ?? '') ?? [];
  if (!machine.status || kibibytes === undefined) return { name, severity: 'ok', value };
  const rss = Number(kibibytes) * 1024;
  if (headroom >= rss * 1.5) return { name, severity: 'ok', value: `${value}, the process uses ${mebibytes(rss)}` };
  return {
    name,
    severity: headroom < rss ? 'fail' : 'warn',
    value,
    wrong: `the process uses ${mebibytes(rss)}: ${headroom < rss ? 'no' : 'hardly any'} room for a second one`,
    why: 'both processes run side by side during a handover, which fails with ERR_HANDOVER_NO_MEMORY where there is no room',
    fix: 'set MemoryMax= in the systemd unit, or resources.limits.memory in the pod, to twice what one process uses',
  };
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MiB`;
}

export const CHECKS: readonly Check[] = [
  atLeast(
    'net.core.somaxconn',
    largestBacklog,
    'the kernel limits every accept queue to it; while a process is busy or replaced, it drops connections that do not fit',
  ),
  atLeast(
    'net.ipv4.tcp_max_syn_backlog',
    () => 1024,
    'it limits the queue of half-open connections; beyond it the kernel drops SYNs, and clients wait a second and more',
  ),
  atLeast(
    'net.core.netdev_max_backlog',
    () => 1000,
    'it limits the packets that wait for a busy processor; beyond it they are dropped, and a burst of connections becomes slow',
  ),
  portRange,
  timeWaitReuse,
  openFiles,
  migrateRequests,
  overflows('ListenOverflows', 'an accept queue was full: clients waited or failed. Raise the backlog and somaxconn'),
  overflows('ListenDrops', 'connections were dropped before they were accepted, most of them by a full accept queue'),
  memory,
];
