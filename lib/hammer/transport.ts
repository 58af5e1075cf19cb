// Opens the sockets of the clients, and distinguishes a reset from a FIN where Node does not.
import net from 'node:net';
import tls from 'node:tls';
import type { Target } from './plan.js';

const READ_BYTES = 65_536;

/** Opens connections to one target. */
export class Dialer {
  readonly #target: Target;
  /** One buffer for all sockets of the thread: each read is consumed before the next. */
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

  /** `read` gets bytes that are overwritten once it returns. `session`: a TLS session to resume, of an earlier connection. */
  dial(read: (bytes: Buffer) => void, session: Buffer | undefined): net.Socket {
    const { host, port, unixPath, serverName, resumes } = this.#target;
    const buffer = this.#buffer;
    const where = unixPath === undefined ? { host, port } : { path: unixPath };
    const options = {
      ...where,
      noDelay: true,
      // Otherwise Node answers the FIN with its own before `wasReset` can ask the kernel.
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
      // The hammer measures load, not the chain of trust, as do wrk, h2load and ab.
      rejectUnauthorized: false,
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(resumes && session !== undefined ? { session } : {}),
    } as tls.ConnectionOptions);
  }
}

/**
 * Whether the 'end' was a reset: libuv reports a reset that arrives together with data as an end (uv__stream_io, POLLHUP after
 * a partial read). getpeername(2) fails on a reset connection, but not on one whose peer has only sent a FIN. Node caches its
 * answer, and this is the first call. A Unix socket has no resets of that kind and no peer name.
 */
export function wasReset(socket: net.Socket, { unixPath }: { readonly unixPath?: string }): boolean {
  return unixPath === undefined && socket.remoteAddress === undefined;
}
