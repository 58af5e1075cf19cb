// The process of a worker: started with the listeners, and with a link to the supervisor.
import { HandoverError } from '../errors.js';
import { closeFd, socketpair } from '../fd/index.js';
import { forgetActivation } from '../platform/activation.js';
import type { Exit } from '../platform/env.js';
import { spawn } from '../platform/spawn.js';
import { CHANNEL_FILE_VARIABLE, CHANNEL_VARIABLE, channelVariables } from '../platform/start-self.js';
import { SUPERVISOR_VARIABLE } from '../platform/supervisor-way.js';
import type { Entry } from '../resources/ledger.js';
import type { Program } from './program.js';

/** Everything a worker's process is started with. */
export interface Launch {
  readonly program: Program;
  /** Borrowed; the process gets them as descriptors from 3 on (sd_listen_fds(3)). */
  readonly listeners: readonly Entry[];
  /** Borrowed: the successor's end of the channel to its predecessor. */
  readonly channel?: number;
  /** Path of the socket that the worker dials where its wrapper passes on no descriptor. */
  readonly door: string | undefined;
  /** Number of the slot. */
  readonly index: number;
}

export interface Launched {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** The supervisor's end of the link. The caller owns it. */
  readonly link: number;
}

/** Processes that Node waits for, from the fork on. */
const unreaped = new Set<number>();

/** Whether Node itself waits for this child. */
export function isAwaited(pid: number): boolean {
  return unreaped.has(pid);
}

/** @throws ERR_HANDOVER_SPAWN_FAILED */
export async function launch(start: Launch): Promise<Launched> {
  const [ours, theirs] = socketpair();
  const { program, listeners, channel } = start;
  const passed = [...listeners.map(({ fd }) => fd), theirs, ...(channel === undefined ? [] : [channel])];
  const { file, args } = withListenPid(program, listeners.length > 0);
  const child = spawn(file, args, {
    cwd: program.cwd,
    env: environment(start),
    // A session and a group of its own: Ctrl-C in a terminal reaches the supervisor alone, which passes it on.
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', ...passed],
  });
  const { pid } = child;
  if (pid !== undefined) unreaped.add(pid);
  const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  void exited.then(() => pid !== undefined && unreaped.delete(pid));
  try {
    await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    return { pid: pid as number, exited, link: ours };
  } catch (cause) {
    closeFd(ours);
    const message = `cannot start ${program.file} in ${program.cwd}: ${(cause as Error).message}`;
    throw new HandoverError('ERR_HANDOVER_SPAWN_FAILED', message, { cause, phase: 'PREPARE', stillServing: true });
  } finally {
    closeFd(theirs);
  }
}

/** LISTEN_PID is known only after the fork: a shell sets it and becomes the program. */
function withListenPid(
  { file, args }: Program,
  hasListeners: boolean,
): { readonly file: string; readonly args: string[] } {
  if (!hasListeners) return { file, args: [...args] };
  return { file: '/bin/sh', args: ['-c', 'LISTEN_PID=$$ exec "$0" "$@"', file, ...args] };
}

const FIRST_FD = 3;

/** Variables that the supervisor got from its own parent: a worker must not act on them. */
const OWN_VARIABLES = [
  'NOTIFY_SOCKET',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
  CHANNEL_VARIABLE,
  CHANNEL_FILE_VARIABLE,
] as const;

function environment({ program, listeners, channel, index, door }: Launch): NodeJS.ProcessEnv {
  const count = listeners.length;
  const inherited = { ...program.env };
  forgetActivation(inherited);
  for (const name of OWN_VARIABLES) delete inherited[name];
  return {
    ...inherited,
    PWD: program.cwd,
    HANDOVER_WORKER: String(index),
    [SUPERVISOR_VARIABLE]: [FIRST_FD + count, process.pid, ...(door === undefined ? [] : [door])].join(':'),
    ...(channel !== undefined && channelVariables(FIRST_FD + count + 1, channel)),
    ...(count > 0 && {
      LISTEN_FDS: String(count),
      LISTEN_FDNAMES: listeners.map(({ name }) => name.replaceAll(':', '_')).join(':'),
    }),
  };
}
