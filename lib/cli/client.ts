// Connects a command to the control socket of a process, and asks it.
import { constants } from 'node:os';
import { hasCode, systemError } from '../errors.js';
import { dial } from '../fd/dial.js';
import { FdSocket } from '../fd/index.js';
import type { ControlAnswers, ControlEvent, ControlName, ControlParams } from '../protocol/control-commands.js';
import { isPeerLost, type Params, Rpc } from '../protocol/rpc.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Context, Values } from './command.js';
import { controlPath } from './find-socket.js';

const { ENOENT, ECONNREFUSED, EACCES, EPERM, EAGAIN } = constants.errno;

/** Called with each event that the process sends while it works. */
export type OnEvent = (event: ControlEvent) => void;

/**
 * Sends one command to the process at the control socket, and returns its answer. Does not check the answer: the process is
 * this user's own, or root's.
 * @throws CommandError no process is there, or it refuses this user; the error of the command, with its code
 */
export async function ask<N extends ControlName>(
  context: Context,
  name: N,
  params: ControlParams<N>,
  onEvent?: OnEvent,
): Promise<ControlAnswers[N]> {
  return (await call(context, name, params, onEvent)) as ControlAnswers[N];
}

/** The same for what no table of the protocol declares. */
export async function call(context: Context, name: string, params: Params, onEvent?: OnEvent): Promise<Params> {
  const path = controlPath(text(context.options.control), context.variables);
  const hear = (event: string, told: Params): void => onEvent?.({ name: event, ...told } as ControlEvent);
  const rpc = new Rpc(new FdSocket(connect(path)), { calls: {}, onEvent: hear });
  try {
    return (await rpc.call(name, params)).params;
  } catch (error) {
    throw explained(error, path);
  } finally {
    rpc.close();
  }
}

function connect(path: string): number {
  const fd = dial(path);
  if (fd >= 0) return fd;
  if (fd === -ENOENT) throw new CommandError(EXIT.nobody, `no process there: ${path} does not exist`);
  if (fd === -ECONNREFUSED)
    throw new CommandError(EXIT.nobody, `no process there: no process listens on ${path} any more`);
  if (fd === -EACCES || fd === -EPERM) {
    const who = `user ${process.geteuid?.()}`;
    throw new CommandError(EXIT.forbidden, `${who} may not connect to ${path}: run this as the user of the process`);
  }
  if (fd === -EAGAIN)
    throw new CommandError(EXIT.failed, `the process at ${path} does not accept: its accept queue is full`);
  throw systemError(fd, 'connect', { path });
}

function explained(error: unknown, path: string): unknown {
  if (hasCode(error, 'ERR_HANDOVER_CONTROL_REFUSED')) {
    return Object.assign(new CommandError(EXIT.forbidden, (error as Error).message), {
      code: 'ERR_HANDOVER_CONTROL_REFUSED',
    });
  }
  if (!isPeerLost(error)) return error;
  const message = `the process at ${path} hung up before it answered: it has ended, or this is no control socket`;
  return Object.assign(new CommandError(EXIT.failed, message), { code: 'ERR_HANDOVER_PEER_LOST' });
}

export function text(value: Values[string]): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
