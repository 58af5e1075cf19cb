// The libuv handle of a connected socket: its descriptor, whether it reads, and the bytes it has yet to write. It is looked for
// at run time: where this Node has no such handle, the functions return undefined or 0, and the connection drains.
import { Socket } from 'node:net';

export interface StreamHandle {
  readonly fd: number;
  /** Whether the stream wants to read. Node sets it. */
  readonly reading?: boolean;
  readStart(): number;
  readStop(): number;
}

/** The handle of a connected socket; undefined where it has none, or one without a descriptor. */
export function streamHandle(socket: Socket): StreamHandle | undefined {
  const { _handle: handle } = socket as { _handle?: Partial<StreamHandle> | null };
  const isKnown =
    typeof handle?.readStop === 'function' && typeof handle.readStart === 'function' && typeof handle.fd === 'number';
  return isKnown && (handle.fd ?? -1) >= 0 ? (handle as StreamHandle) : undefined;
}

/** The descriptor of a connection. The socket owns it. */
export function descriptorOf(socket: Socket): number | undefined {
  return streamHandle(socket)?.fd;
}

/** Bytes of the writes under way that the kernel has not taken yet, and that `bytesWritten` counts already. */
export function queuedBytes(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: unknown } | null };
  return typeof handle?.writeQueueSize === 'number' ? handle.writeQueueSize : 0;
}

/** The socket below a TLS socket, which carries the encrypted bytes; undefined where there is none. */
export function encryptedSide(socket: Socket): Socket | undefined {
  const { _parent: parent } = socket as { _parent?: unknown };
  return parent instanceof Socket ? parent : undefined;
}
