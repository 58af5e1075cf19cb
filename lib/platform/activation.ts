// Takes the descriptors that the starter of this process announced in the environment: each is looked at before anything
// happens to it.
import { kindOfSocket } from '../endpoints/kinds.js';
import { hasCode } from '../errors.js';
import { describeFd, type FdDescription, setCloexec } from '../fd/index.js';
import { pidfdInode } from '../fd/pidfd.js';
import { type Activated, malformed } from '../resources/activated.js';
import { parseStoreName } from '../resources/store-name.js';
import { type Announced, activationVariables, readConventions } from './conventions.js';

/**
 * Takes what the environment announces to this process: every descriptor is described first, then all are made
 * close-on-exec and the variables are removed. What is for another process is left alone, and so is everything on failure.
 * The descriptors are the caller's now.
 * @throws ERR_HANDOVER_ACTIVATION a variable is malformed, or names a descriptor that is not what it says
 */
export function takeActivation(variables: NodeJS.ProcessEnv, pid: number, parentPid: number): Activated[] {
  const isOwnPidfd = (inode: bigint): boolean => (pidfdInode(pid) ?? inode) === inode;
  const { announced, variables: used } = readConventions(variables, { pid, parentPid, isOwnPidfd });
  const activated = announced.map(describeActivated);
  for (const { fd } of activated) setCloexec(fd);
  for (const name of used) delete variables[name];
  return activated;
}

/** Removes every variable of every convention: a predecessor has handed over what they announced. */
export function forgetActivation(variables: NodeJS.ProcessEnv): void {
  for (const name of activationVariables(variables)) delete variables[name];
}

function describeActivated({ fd, name, source, isCertain }: Announced): Activated {
  const description = describeOpen(fd, source);
  const { socket } = description;
  const kind = kindOfSocket(socket) ?? 'descriptor';
  const stored = parseStoreName(name);
  // Beyond what was passed along the next number is Node's own epoll; in a child that got the variables alone, anything.
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
