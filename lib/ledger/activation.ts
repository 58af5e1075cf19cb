// Descriptors that whoever started this process passed along: taken from the environment, looked at before anything
// happens to them, and matched with what the app asks for.
import { SocketAddress as ParsedAddress } from 'node:net';
import { hasCode } from '../errors.js';
import {
  type BindListenerOptions,
  closeFd,
  describeFd,
  type FdDescription,
  type SocketAddress,
  setCloexec,
} from '../fd/index.js';
import { pidfdInode } from '../fd/pidfd.js';
import type { ListenerKind, Place } from './address.js';
import { type Announced, activationVariables, malformed, readConventions } from './conventions.js';
import { parseStoreName, type Stored } from './store-name.js';

/** One descriptor that was passed along; owned by who holds this. */
export interface Activated {
  readonly fd: number;
  readonly name: string;
  /** What a listener is; a descriptor is anything else. */
  readonly kind: ListenerKind | 'descriptor';
  readonly local?: SocketAddress;
  /** The one that announced it, for messages. */
  readonly source: string;
  /** What this package said of it when it put it into the store of the service manager. */
  readonly stored?: Stored;
}

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
  const kind = listenerKind(description);
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

/** Only what Node can adopt is a listener: it finds out too late, and binds what is unbound to a random port (FACTS N3). */
function listenerKind({ socket }: FdDescription): Activated['kind'] {
  const { family, type, listening, local } = socket ?? {};
  if (!local) return 'descriptor';
  if ('port' in local) {
    if (type === 'stream' && listening) return 'tcp';
    return type === 'dgram' && local.port !== 0 && !socket?.peer ? 'udp' : 'descriptor';
  }
  if (family !== 'unix' || type !== 'stream' || !listening) return 'descriptor';
  return 'path' in local ? 'unix' : 'abstract';
}

function what({ kind, socket }: FdDescription): string {
  if (!socket) return kind === 'other' ? 'no socket' : `a ${kind}`;
  return `a ${socket.family} ${socket.type} socket that does not listen`;
}

/**
 * The one that is meant by a listener of this name and place: first what this package stored as exactly that, then by the
 * name its supervisor gave, then by address. Of several of one name the one at the address, else the first.
 * @throws ERR_HANDOVER_ACTIVATION the one of this name is no such listener
 */
export function findActivated(all: readonly Activated[], name: string, place: Place): Activated | undefined {
  const same = all.find(({ stored }) => stored?.name === name && stored.address === place.canonical);
  if (same) return same;
  const fitting = all.filter(({ kind }) => kind !== 'descriptor' && (kind === 'udp') === (place.kind === 'udp'));
  const byAddress = closest(fitting, place.bind);
  const named = all.filter((one) => one.name === name && !one.stored);
  if (named.length === 0) return byAddress;
  if (byAddress?.name === name) return byAddress;
  const first = named.find((one) => fitting.includes(one));
  if (first) return first;
  const [wrong] = named as [Activated];
  const transport = place.kind === 'udp' ? 'UDP socket' : 'stream listener';
  throw malformed(
    wrong.source,
    `"${name}", descriptor ${wrong.fd}, is no ${transport}, which ${place.canonical} asks for`,
  );
}

/** The exact address, else any address of the port where the app names none. */
function closest(all: readonly Activated[], bind: BindListenerOptions): Activated | undefined {
  if ('path' in bind) return all.find(({ local }) => local && 'path' in local && local.path === bind.path);
  if ('abstract' in bind)
    return all.find(({ local }) => local && 'abstract' in local && local.abstract === bind.abstract);
  const { host, port } = bind;
  const atPort = all.filter(({ local }) => local && 'port' in local && port !== 0 && local.port === port);
  const isAt =
    (hosts: readonly string[]) =>
    ({ local }: Activated): boolean =>
      local !== undefined && 'address' in local && hosts.includes(local.address);
  if (host !== undefined) return atPort.find(isAt([normalized(host)]));
  return atPort.find(isAt(['::', '0.0.0.0'])) ?? atPort[0];
}

/** As the kernel writes it. */
function normalized(host: string): string {
  try {
    return new ParsedAddress({ address: host, family: host.includes(':') ? 'ipv6' : 'ipv4' }).address;
  } catch {
    // With a scope: as it stands.
    return host;
  }
}

export function closeActivated(all: readonly Activated[]): void {
  for (const { fd } of all) closeFd(fd);
}
