// For apps that check by connecting whether a port is free. In a successor that has not claimed its listeners yet the
// predecessor would answer, so connections to these listeners are refused.
import { isIP, Socket } from 'node:net';
import { constants, hostname, networkInterfaces } from 'node:os';
import { reaches } from '../endpoints/ip.js';
import { systemError } from '../errors.js';
import type { SocketAddress } from '../fd/index.js';

interface Target {
  readonly host: string;
  readonly port: number;
  readonly path?: string | undefined;
}

/** Refuses connections of this process to unclaimed listeners, until the returned function is called. */
export function refuseUnclaimed(unclaimed: () => readonly SocketAddress[]): () => void {
  const { connect } = Socket.prototype;
  const refusing = function (this: Socket, ...args: unknown[]): Socket {
    const target = targetOf(args);
    if (!target || !unclaimed().some((local) => isAt(local, target)))
      return Reflect.apply(connect, this, args) as Socket;
    Object.assign(this, { connecting: true });
    const { host: address, port, path } = target;
    const where = path === undefined ? { address, port } : { path };
    process.nextTick(() => this.destroy(systemError(-constants.errno.ECONNREFUSED, 'connect', where)));
    return this;
  };
  Socket.prototype.connect = refusing as Socket['connect'];
  return () => {
    // A `connect` that other code has put over this one stays, and reaches Node's through it.
    if (Socket.prototype.connect === refusing) Socket.prototype.connect = connect;
    else unclaimed = () => [];
  };
}

/** The target from all forms of arguments; `net.connect` passes its normalised arguments as a list in a list. */
function targetOf(args: readonly unknown[]): Target | undefined {
  const [first, second] = Array.isArray(args[0]) ? (args[0] as unknown[]) : args;
  const options = (typeof first === 'object' && first !== null ? first : { port: first, host: second }) as Partial<
    Record<string, unknown>
  >;
  const { path = typeof first === 'string' && Number.isNaN(Number(first)) ? first : undefined } = options;
  if (typeof path === 'string') return { host: '', port: 0, path };
  const host = typeof options.host === 'string' && options.host !== '' ? options.host : 'localhost';
  return { host, port: Number(options.port) };
}

function isAt(local: SocketAddress, { host, port, path }: Target): boolean {
  if ('path' in local) return local.path === path;
  if ('abstract' in local) return path === `\0${local.abstract}`;
  return path === undefined && addressesOf(host).some((address) => reaches(local, address, port));
}

/** Addresses of this machine that the host stands for; other names would need a lookup, and lead to other machines. */
function addressesOf(host: string): readonly string[] {
  const own = [
    '127.0.0.1',
    '::1',
    ...Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .map(addressOf),
  ];
  if (host === 'localhost') return own.slice(0, 2);
  if (host === hostname() || host === '0.0.0.0' || host === '::') return own;
  return isIP(host) !== 0 && (own.includes(host) || host.startsWith('127.')) ? [host] : [];
}

function addressOf({ address }: { readonly address: string }): string {
  return address;
}
