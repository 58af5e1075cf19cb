// The first way to a successor: this process starts it, and a socketpair joins the two.
import { fstatSync } from 'node:fs';
import { HandoverError, hasCode } from '../errors.js';
import { closeFds, describeFd, FdSocket, isSupported, setCloexec, socketpair } from '../fd/index.js';
import { Channel } from '../protocol/channel.js';
import { forgetActivation } from './activation.js';
import { CHANNEL_FD, type Command, type Env } from './env.js';
import { StderrTee } from './stderr-tee.js';
import { childProcess, type SuccessorProcess } from './successor-process.js';

/** Variable with the descriptor of the channel to the predecessor. */
export const CHANNEL_VARIABLE = 'HANDOVER_CHANNEL';

/** Variable with the device and inode of that socket: a child may inherit the variables without the descriptor. */
export const CHANNEL_FILE_VARIABLE = 'HANDOVER_CHANNEL_FILE';

/** A started successor, which loads: the channel to it, and its process. */
export interface Started {
  readonly channel: Channel;
  readonly process: SuccessorProcess;
}

/**
 * Starts the successor with `more` variables, and without those that announce descriptors, which it gets over the channel. The
 * caller owns the channel.
 * @throws ERR_HANDOVER_SPAWN_FAILED with the system's error as its cause; every descriptor is then closed
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
 * Takes the channel to the predecessor that started this process, and removes its variables: children that this process starts
 * later have no predecessor, and may have another file at that descriptor. The caller owns the descriptor. Undefined where no
 * predecessor started this process.
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

/** The variables for a successor whose channel is descriptor `number` there, and `channel` in this process. */
export function channelVariables(number: number, channel: number): NodeJS.ProcessEnv {
  // The sign says that the file variable belongs to this value. An older version, which does not know the file variable, sets a
  // number without a sign and may pass on a file variable that it inherited. Number() reads the sign in every version.
  return { [CHANNEL_VARIABLE]: `+${number}`, [CHANNEL_FILE_VARIABLE]: fileOf(channel) };
}

/** Device and inode of the socket, which are equal in all processes that share it, and differ from every other socket's. */
function fileOf(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}`;
}

/** Whether the descriptor is a connected Unix stream socket. A grandchild may inherit the variable without the descriptor. */
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
