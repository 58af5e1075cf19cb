// Who owns what at one instant: all processes of a world are stopped, /proc is read, one may be killed, the others go on. So
// what died with it is known exactly, also what it had accepted a microsecond before.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readProcessStat } from '../../lib/fd/proc.js';
import { alive, type ProcessId, signal } from '../helpers/processes.js';

/** Connections by the client's port. */
export interface Holdings {
  /** By process: connections of which it has a descriptor. */
  readonly ports: ReadonlyMap<number, ReadonlyMap<number, string>>;
  /** Processes that hold the listener. */
  readonly listening: ReadonlySet<number>;
  /** Established, and accepted by nobody yet. */
  readonly queued: readonly number[];
}

const STOP_TIMEOUT = 500;
const LISTEN = '0A';
/** ESTABLISHED and CLOSE_WAIT (include/net/tcp_states.h): what a process may still accept. */
const OPEN = ['01', '08'];

interface Entry {
  readonly inode: string;
  readonly remote: number;
  readonly isListening: boolean;
  readonly isOpen: boolean;
}

/** Reads who holds what of the TCP port, while all of `processes` are stopped, and runs `act` before they go on. */
export function frozen<T>(processes: readonly ProcessId[], act: () => T): T {
  const stopped = processes.filter((id) => !isStopped(id.pid) && signal(id, 'SIGSTOP'));
  try {
    const deadline = performance.now() + STOP_TIMEOUT;
    // A few microseconds; waiting for events would let the clients of this process go on.
    while (stopped.some((id) => alive(id) && !isStopped(id.pid)) && performance.now() < deadline);
    return act();
  } finally {
    for (const id of stopped) signal(id, 'SIGCONT');
  }
}

/** As `/proc` shows it. */
export function holdingsOf(pids: readonly number[], holders: readonly number[], port: number): Holdings {
  const entries = tcpEntries(port);
  const byInode = new Map(entries.map((entry) => [entry.inode, entry]));
  const ports = new Map<number, Map<number, string>>();
  const listening = new Set<number>();
  for (const pid of [...pids, ...holders]) {
    const held = new Map<number, string>();
    for (const inode of socketsOf(pid)) {
      const entry = byInode.get(inode);
      if (entry?.isListening) listening.add(pid);
      else if (entry) held.set(entry.remote, inode);
    }
    ports.set(pid, held);
  }
  const queued = entries.filter(({ inode, isOpen }) => inode === '0' && isOpen);
  return { ports, listening, queued: queued.map(({ remote }) => remote) };
}

/** Every thread: one in a system call stops later. */
export function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((task) =>
      'TtZX'.includes(readProcessStat(`${pid}/task/${task}`).state),
    );
  } catch {
    return false;
  }
}

/** Those whose server side is this port (proc_pid_net(5)). */
function tcpEntries(port: number): Entry[] {
  const entries: Entry[] = [];
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
    if (!local?.endsWith(suffix) || remote === undefined || inode === undefined) continue;
    const remotePort = Number.parseInt(remote.split(':')[1] ?? '', 16);
    entries.push({ inode, remote: remotePort, isListening: state === LISTEN, isOpen: OPEN.includes(state ?? '') });
  }
  return entries;
}

function socketsOf(pid: number): string[] {
  let names: string[];
  try {
    names = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${name}`)) ?? [];
      return inode === undefined ? [] : [inode];
    } catch {
      return [];
    }
  });
}
