// The connection to the process that is asked.
import { constants } from 'node:os';
import { hasCode, systemError } from '../errors.js';
import { dial } from '../fd/dial.js';
import { FdSocket } from '../fd/index.js';
import { isPeerLost, type Params, Rpc } from '../protocol/rpc.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Context, Values } from './command.js';
import { controlPath } from './find-socket.js';

const { ENOENT, ECONNREFUSED, EACCES, EPERM, EAGAIN } = constants.errno;

export type OnEvent = (name: string, params: Params) => void;

/** Asks one thing of the process at the control socket. @throws CommandError nobody is there, or not for this user */
export async function ask(context: Context, method: string, params: Params, onEvent?: OnEvent): Promise<Params> {
  const path = controlPath(text(context.options.control), context.variables);
  const rpc = new Rpc(new FdSocket(connect(path)), { calls: {}, ...(onEvent && { onEvent }) });
  try {
    const answer = await rpc.call(method, params);
    return answer.params;
  } catch (error) {
    throw explained(error, path);
  } finally {
    rpc.close();
  }
}

function connect(path: string): number {
  const fd = dial(path);
  if (fd >= 0) return fd;
  if (fd === -ENOENT) throw new CommandError(EXIT.nobody, `nobody there: ${path} does not exist`);
  if (fd === -ECONNREFUSED) throw new CommandError(EXIT.nobody, `nobody there: no process listens on ${path} any more`);
  if (fd === -EACCES || fd === -EPERM) {
    const who = `user ${process.geteuid?.()}`;
    throw new CommandError(EXIT.forbidden, `${who} may not connect to ${path}: run this as the user of the process`);
  }
  if (fd === -EAGAIN) throw new CommandError(EXIT.failed, `the process at ${path} answers nobody: its queue is full`);
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
