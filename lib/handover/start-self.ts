// Way 1: this process starts its successor, joined to it by a socketpair.
import { Channel } from '../channel/channel.js';
import { HandoverError, hasCode } from '../errors.js';
import { closeFd, describeFd, FdSocket, setCloexec, socketpair } from '../fd/index.js';
import { forgetActivation } from '../ledger/activation.js';
import { CHANNEL_FD, type Command, type Env } from './env.js';
import { StderrTee } from './stderr-tee.js';
import { childProcess, type SuccessorProcess } from './successor-process.js';

/** Tells a process which of its descriptors leads to its predecessor. */
export const CHANNEL_VARIABLE = 'HANDOVER_CHANNEL';

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
  const variables: NodeJS.ProcessEnv = { ...command.variables, ...more, [CHANNEL_VARIABLE]: String(CHANNEL_FD) };
  forgetActivation(variables);
  try {
    const process = await env.start({ ...command, variables }, theirs);
    const tee = new StderrTee(process.stderr, (bytes) => env.writeStderr(bytes));
    return { channel: new Channel(new FdSocket(ours), 'predecessor'), process: childProcess(process, tee) };
  } catch (cause) {
    closeFd(ours);
    const message = `cannot start ${command.file} in ${command.cwd}: ${(cause as Error).message}`;
    throw new HandoverError('ERR_HANDOVER_SPAWN_FAILED', message, { cause, phase: 'PREPARE' });
  } finally {
    closeFd(theirs);
  }
}

/** The channel to the predecessor that started this process; undefined where none did. Removes the variable. */
export function inheritedChannel(env: Env): Channel | undefined {
  const { [CHANNEL_VARIABLE]: value } = env.variables;
  delete env.variables[CHANNEL_VARIABLE];
  if (value === undefined || !isUnixStream(Number(value))) return undefined;
  setCloexec(Number(value));
  return new Channel(new FdSocket(Number(value)), 'successor');
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
