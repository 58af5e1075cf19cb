// Opens the sockets of the clients, and tells a reset from a FIN where Node does not.
import net from 'node:net';
import tls from 'node:tls';
import type { Target } from './plan.js';

const READ_BYTES = 65_536;

/** Opens connections to one target. */
export class Dialer {
  readonly #target: Target;
  /** One for all sockets of the thread: what is read is used up before the next read. */
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #context: tls.SecureContext | undefined;

  constructor(target: Target) {
    this.#target = target;
    const { isTls, tlsVersion } = target;
    const versions = tlsVersion === undefined ? {} : { minVersion: tlsVersion, maxVersion: tlsVersion };
    this.#context = isTls ? tls.createSecureContext(versions) : undefined;
  }

  get isTls(): boolean {
    return this.#target.isTls;
  }

  /** `read` gets bytes that are overwritten as soon as it returns. `session`: of an earlier connection, to resume. */
  dial(read: (bytes: Buffer) => void, session: Buffer | undefined): net.Socket {
    const { host, port, unixPath, serverName, resumes } = this.#target;
    const buffer = this.#buffer;
    const where = unixPath === undefined ? { host, port } : { path: unixPath };
    const options = {
      ...where,
      noDelay: true,
      // Or Node answers a FIN with one, before it can be asked whether it was a reset.
      allowHalfOpen: true,
      onread: {
        buffer,
        callback: (length: number): boolean => {
          read(length === buffer.length ? buffer : buffer.subarray(0, length));
          return true;
        },
      },
    };
    if (this.#context === undefined) return net.connect(options as net.NetConnectOpts);
    return tls.connect({
      ...options,
      secureContext: this.#context,
      ALPNProtocols: ['http/1.1'],
      // The load is what is measured here, not the chain of trust: as wrk, h2load and ab.
      rejectUnauthorized: false,
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(resumes && session !== undefined ? { session } : {}),
    } as tls.ConnectionOptions);
  }
}

/**
 * Tells a reset from a FIN at 'end': libuv reports a reset that arrives together with data as an end (uv__stream_io,
 * POLLHUP after a partial read). getpeername(2) knows: it fails on a reset connection, and not on one whose peer has
 * only finished. It is asked for the first time here, so Node has not kept an earlier answer. A Unix socket has no resets of
 * that kind and no peer name.
 */
export function wasReset(socket: net.Socket, { unixPath }: { readonly unixPath?: string }): boolean {
  return unixPath === undefined && socket.remoteAddress === undefined;
}
