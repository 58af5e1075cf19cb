// The handle of libuv below a connected socket: its descriptor, whether it reads, and what it has still to write. Looked for
// at run time: where this Node has no such handle the caller gets undefined or false, and the connection drains instead.
import { Socket } from 'node:net';

export interface StreamHandle {
  readonly fd: number;
  /** Set by Node: whether the stream wants to read. */
  readonly reading?: boolean;
  readStart(): number;
  readStop(): number;
}

/** The handle of a connected socket, with its descriptor. */
export function streamHandle(socket: Socket): StreamHandle | undefined {
  const { _handle: handle } = socket as { _handle?: Partial<StreamHandle> | null };
  const isKnown =
    typeof handle?.readStop === 'function' && typeof handle.readStart === 'function' && typeof handle.fd === 'number';
  return isKnown && (handle.fd ?? -1) >= 0 ? (handle as StreamHandle) : undefined;
}

/** The descriptor of a connection; it stays the socket's. */
export function descriptorOf(socket: Socket): number | undefined {
  return streamHandle(socket)?.fd;
}

/** Bytes of the writes under way that the kernel has not taken yet: `bytesWritten` counts them. */
export function queuedBytes(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: unknown } | null };
  return typeof handle?.writeQueueSize === 'number' ? handle.writeQueueSize : 0;
}

/** The socket a TLS socket reads from and writes to. */
export function encryptedSide(socket: Socket): Socket | undefined {
  const { _parent: parent } = socket as { _parent?: unknown };
  return parent instanceof Socket ? parent : undefined;
}
