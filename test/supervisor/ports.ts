// A port for a program that is told one by number.
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** Free a moment ago. The kernel may give it to the next one who asks for any port: open such listeners first. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
