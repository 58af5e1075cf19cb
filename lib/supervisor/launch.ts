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

/** What it is started with. */
export interface Launch {
  readonly program: Program;
  /** Borrowed; they become its descriptors from 3 on (sd_listen_fds(3)). */
  readonly listeners: readonly Entry[];
  /** Borrowed: its end of the channel to the worker it replaces. */
  readonly channel?: number;
  /** The path of the socket to dial where no descriptor gets through a wrapper. */
  readonly door: string | undefined;
  /** The number of its slot. */
  readonly index: number;
}

export interface Launched {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** The supervisor's end of the link, which is the caller's. */
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
    // A session and a group of its own: a terminal's Ctrl-C is the supervisor's to pass on.
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

/** What the supervisor was told by whoever started it: none of a worker's business. */
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
