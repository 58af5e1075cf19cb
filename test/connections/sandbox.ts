// Servers and clients for the tests of managed servers: listening on a dup of a descriptor the test owns, as the ledger
// does it, and raw clients whose every byte counts.
import { once } from 'node:events';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { bindListener, describeFd, dupFd } from '../../lib/fd/index.js';
import type { Where } from '../../lib/protocols/managed.js';
import { ManagedServer } from '../../lib/protocols/managed-server.js';
import type { ProtocolAt } from '../../lib/protocols/protocol.js';
import { own } from '../fd/sandbox.js';

export interface Setup {
  readonly managed: ManagedServer;
  readonly port: number;
  readonly where: () => Where;
  /** What the app heard: 'listening', 'close', and that it has closed the server by itself. */
  readonly heard: string[];
}

/** A managed server that accepts. */
export async function manage(server: Server, protocols?: readonly ProtocolAt[]): Promise<Setup> {
  const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
  const heard: string[] = [];
  for (const event of ['listening', 'close']) server.on(event, () => heard.push(event));
  const managed = new ManagedServer(server, 'web', 511, () => heard.push('closed by the app'), undefined, protocols);
  const where = (): Where => ({ fd: dupFd(fd) });
  onTestFinished(async () => {
    managed.cut();
    managed.finish();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  await managed.accept(where());
  return { managed, where, heard, port: (describeFd(fd).socket?.local as AddressInfo).port };
}

/** A client that keeps all it got. */
export class Client {
  readonly socket: Socket;
  text = '';
  ended = false;
  #changed: () => void = () => {};

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1').setEncoding('utf8');
    this.socket.on('data', (text) => this.#note(() => (this.text += text)));
    this.socket.on('end', () => this.#note(() => (this.ended = true)));
    this.socket.on('error', () => {});
    onTestFinished(() => {
      this.socket.destroy();
    });
  }

  #note(change: () => unknown): void {
    change();
    this.#changed();
  }

  async connected(): Promise<this> {
    if (this.socket.connecting) await once(this.socket, 'connect');
    return this;
  }

  ask(path: string, headers = ''): this {
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
    return this;
  }

  /** Resolves once all that came so far satisfies. */
  async until(isEnough: (client: this) => boolean): Promise<this> {
    while (!isEnough(this)) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    return this;
  }

  gets(text: string): Promise<this> {
    return this.until(() => this.text.includes(text));
  }

  atEnd(): Promise<this> {
    return this.until(() => this.ended);
  }
}
