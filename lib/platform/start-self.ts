// Way 1: this process starts its successor, joined to it by a socketpair.
import { fstatSync } from 'node:fs';
import { HandoverError, hasCode } from '../errors.js';
import { closeFds, describeFd, FdSocket, isSupported, setCloexec, socketpair } from '../fd/index.js';
import { Channel } from '../protocol/channel.js';
import { forgetActivation } from './activation.js';
import { CHANNEL_FD, type Command, type Env } from './env.js';
import { StderrTee } from './stderr-tee.js';
import { childProcess, type SuccessorProcess } from './successor-process.js';

/** Tells a process which of its descriptors leads to its predecessor. */
export const CHANNEL_VARIABLE = 'HANDOVER_CHANNEL';

/** Tells which socket that is, as fstat(2) does: a child may inherit the variables, and not the descriptor. */
export const CHANNEL_FILE_VARIABLE = 'HANDOVER_CHANNEL_FILE';

/** A successor on its way: the channel to it, and the process. */
export interface Started {
  readonly channel: Channel;
  readonly process: SuccessorProcess;
}

/**
 * Starts it with `more` variables, and without those that announce descriptors: it gets them from this process.
 * @throws ERR_HANDOVER_SPAWN_FAILED with the system's error as its cause; nothing is left open
 */
export async function startSuccessor(env: Env, command: Command, more: NodeJS.ProcessEnv): Promise<Started> {
  const [ours, theirs] = socketpair();
  const [stderr, theirStderr] = socketpair();
  const variables: NodeJS.ProcessEnv = { ...command.variables, ...more, ...channelVariables(CHANNEL_FD, theirs) };
  forgetActivation(variables);
  try {
    const process = await env.start({ ...command, variables }, theirStderr, theirs);
    const tee = new StderrTee(stderr, env);
    return { channel: new Channel(new FdSocket(ours), 'predecessor'), process: childProcess(process, tee, env.clock) };
  } catch (cause) {
    closeFds([ours, stderr]);
    const message = `cannot start ${command.file} in ${command.cwd}: ${(cause as Error).message}`;
    throw new HandoverError('ERR_HANDOVER_SPAWN_FAILED', message, { cause, phase: 'PREPARE', stillServing: true });
  } finally {
    closeFds([theirs, theirStderr]);
  }
}

/**
 * Takes the descriptor that leads to the predecessor which started this process out of the environment; undefined where none
 * did. At once: whatever is started from here on has no predecessor, and may have another descriptor of that number.
 */
export function takeChannel({ variables, isWorkerThread }: Env): number | undefined {
  const { [CHANNEL_VARIABLE]: value, [CHANNEL_FILE_VARIABLE]: file } = variables;
  if (isWorkerThread) return undefined;
  for (const name of [CHANNEL_VARIABLE, CHANNEL_FILE_VARIABLE]) delete variables[name];
  if (value === undefined || !isSupported()) return undefined;
  const fd = Number(value);
  if (!isUnixStream(fd) || (value.startsWith('+') && file !== fileOf(fd))) return undefined;
  setCloexec(fd);
  return fd;
}

/** The variables by which a process is told of its channel to its predecessor: the descriptor it becomes there, and its own. */
export function channelVariables(number: number, channel: number): NodeJS.ProcessEnv {
  // Number() reads it in every version. A version that knows no file leaves an older one's to what it starts, without the sign.
  return { [CHANNEL_VARIABLE]: `+${number}`, [CHANNEL_FILE_VARIABLE]: fileOf(channel) };
}

/** The same for all who share it: a socket has an inode of its own. */
function fileOf(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}`;
}

/** A grandchild can inherit the variable without the descriptor: it has no predecessor. */
export function isUnixStream(fd: number): boolean {
  if (!Number.isInteger(fd) || fd < 0) return false;
  try {
    const { socket } = describeFd(fd);
    return socket?.family === 'unix' && socket.type === 'stream' && !socket.listening;
  } catch (error) {
    if (hasCode(error, 'EBADF')) return false;
    throw error;
  }
}
