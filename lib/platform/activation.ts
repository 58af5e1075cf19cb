// Takes the descriptors that the parent process announced in the environment. Each is described before any is changed.
import { kindOfSocket } from '../endpoints/kinds.js';
import { hasCode } from '../errors.js';
import { describeFd, type FdDescription, setCloexec } from '../fd/index.js';
import { pidfdInode } from '../fd/pidfd.js';
import { type Activated, malformed } from '../resources/activated.js';
import { parseStoreName } from '../resources/store-name.js';
import { type Announced, activationVariables, readConventions } from './conventions.js';

/**
 * Takes the descriptors that the environment announces to this process; the caller owns them. Describes each first, then makes
 * all close-on-exec and removes the variables. Changes nothing where the announcement is for another process, or on failure.
 * @throws ERR_HANDOVER_ACTIVATION a variable is malformed, or names a descriptor that is not open or no listener
 */
export function takeActivation(variables: NodeJS.ProcessEnv, pid: number, parentPid: number): Activated[] {
  const isOwnPidfd = (inode: bigint): boolean => (pidfdInode(pid) ?? inode) === inode;
  const { announced, variables: used } = readConventions(variables, { pid, parentPid, isOwnPidfd });
  const activated = announced.map(describeActivated);
  for (const { fd } of activated) setCloexec(fd);
  for (const name of used) delete variables[name];
  return activated;
}

/** Removes the variables of every convention: a successor gets the descriptors that they announced from its predecessor. */
export function forgetActivation(variables: NodeJS.ProcessEnv): void {
  for (const name of activationVariables(variables)) delete variables[name];
}

function describeActivated({ fd, name, source, isCertain }: Announced): Activated {
  const description = describeOpen(fd, source);
  const { socket } = description;
  const kind = kindOfSocket(socket) ?? 'descriptor';
  const stored = parseStoreName(name);
  // Behind the passed descriptors comes Node's own epoll. In a child that inherited the variables alone, any file can be there.
  if (description.kind === 'other' || (kind === 'descriptor' && !isCertain))
    throw malformed(source, `descriptor ${fd} is ${what(description)}, not a listener`);
  return {
    fd,
    name: stored?.name ?? name,
    kind,
    source,
    ...(socket?.local && { local: socket.local }),
    ...(stored && { stored }),
  };
}

function describeOpen(fd: number, source: string): FdDescription {
  try {
    return describeFd(fd);
  } catch (error) {
    if (hasCode(error, 'EBADF')) throw malformed(source, `descriptor ${fd} is not open`);
    throw error;
  }
}

function what({ kind, socket }: FdDescription): string {
  if (!socket) return kind === 'other' ? 'no socket' : `a ${kind}`;
  return `a ${socket.family} ${socket.type} socket that does not listen`;
}
