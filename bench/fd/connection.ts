// What is passed around: a connected TCP socket over loopback, and descriptors of it.
import { once } from 'node:events';
import net from 'node:net';
import { describeFd, dupFd } from 'handover/fd';

/** A real connection; neither end reads. */
export async function connect(): Promise<{ socket: net.Socket; close(): void }> {
  const server = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const socket = net.connect(port, '127.0.0.1').pause();
  await once(socket, 'connect');
  const [peer] = await accepted;
  server.close();
  return {
    socket,
    close() {
      socket.destroy();
      peer.destroy();
    },
  };
}

/** `count` descriptors of the connection, beside the one Node has; found by its address, as Node does not tell it. */
export function descriptorsOf(socket: net.Socket, count: number): Int32Array {
  const original = findDescriptor(socket);
  return Int32Array.from({ length: count }, () => dupFd(original));
}

function findDescriptor(socket: net.Socket): number {
  for (let fd = 3; fd < 1024; fd++) {
    try {
      const local = describeFd(fd).socket?.local;
      if (local && 'port' in local && local.port === socket.localPort && local.address === socket.localAddress)
        return fd;
    } catch {
      // Not open.
    }
  }
  throw new Error('the connection has no descriptor');
}
