// Both sides of a transfer in one process, over a real socketpair, with real HTTP connections: a test lets either side
// take one frame after another, so that it can look at what stands between two of them.
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { bindListener, closeFds, describeFd, dupFd, FdSocket } from '../../lib/fd/index.js';
import { Channel } from '../../lib/protocol/channel.js';
import type { Frame, Role } from '../../lib/protocol/frames.js';
import { ManagedServer } from '../../lib/protocols/managed-server.js';
import type { Migration } from '../../lib/protocols/migration.js';
import type { Adopter, Movable } from '../../lib/protocols/protocol.js';
import { Holding } from '../../lib/transfer/holding.js';
import { Offering } from '../../lib/transfer/offering.js';
import { Servers } from '../../lib/transfer/servers.js';
import { own } from '../fd/sandbox.js';
import { until } from '../helpers/until.js';
import type { Wire } from './wire.js';

/** A server whose answers say who gave them, in place of a pid. */
export interface Site {
  readonly server: http.Server;
  readonly managed: ManagedServer;
  readonly port: number;
  /** The URLs it was asked for. */
  readonly requests: string[];
}

export const PREDECESSOR = 1;
export const SUCCESSOR = 2;

export async function site(id: number, name = 'web', options: http.ServerOptions = {}): Promise<Site> {
  const requests: string[] = [];
  const server = http.createServer(options, (request, response) => {
    requests.push(request.url ?? '');
    const body = `got ${request.url}`;
    response.writeHead(200, { 'x-pid': id, 'content-length': body.length }).end(body);
  });
  const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
  const managed = new ManagedServer(server, name, 511, () => {});
  onTestFinished(async () => {
    managed.cut();
    managed.finish();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  await managed.accept({ fd: dupFd(fd) });
  return { server, managed, requests, port: (describeFd(fd).socket?.local as AddressInfo).port };
}

/** The servers of a process, of which this is the only one, and where it listens. */
export async function serving(
  server: Server,
  migration?: Migration,
): Promise<{ readonly servers: Servers; readonly managed: ManagedServer; readonly port: number }> {
  const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
  const managed = new ManagedServer(server, 'web', 511, () => {}, migration);
  const servers = new Servers();
  await servers.add('web', managed, () => ({ fd: dupFd(fd) }));
  await servers.acceptAll();
  onTestFinished(async () => {
    managed.cut();
    servers.finishAll();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  return { servers, managed, port: (describeFd(fd).socket?.local as AddressInfo).port };
}

/** One end of the channel: frames are read when the test says so. */
class End {
  readonly channel: Channel;
  /** The names of the frames it took, with their batch. */
  readonly taken: string[] = [];
  readonly #frames: AsyncIterator<Frame>;
  readonly #act: (frame: Frame | undefined) => void;

  constructor(socket: FdSocket, role: Role, act: (frame: Frame | undefined) => void) {
    this.channel = new Channel(socket, role);
    this.#frames = this.channel[Symbol.asyncIterator]();
    this.#act = act;
  }

  /** Takes the next frame and does with it what it must; the end of the stream, too. */
  async step(): Promise<Frame | undefined> {
    const frame = await this.read();
    this.#act(frame);
    return frame;
  }

  /** Takes the next frame and does nothing: its descriptors are the caller's. */
  async read(): Promise<Frame | undefined> {
    const { value, done } = await this.#frames.next();
    const frame = done ? undefined : (value as Frame);
    const batch = frame && 'batch' in frame.payload ? ` ${frame.payload.batch}` : '';
    this.taken.push(frame ? `${frame.name}${batch}` : 'EOF');
    return frame;
  }

  /** Goes on until the stream ends. */
  async run(): Promise<void> {
    while (await this.step());
  }

  /** Dies, as far as the other side can tell. */
  async die(): Promise<void> {
    this.channel.close();
    await this.#frames.return?.().catch(() => {});
  }
}

export class Transfer {
  readonly offering: Offering;
  readonly holding: Holding;
  readonly predecessor: End;
  readonly successor: End;
  settled = 0;

  constructor(candidates: () => Iterable<Movable>, adopterOf: (listener: string) => Adopter | undefined) {
    const [left, right] = FdSocket.pair();
    this.holding = new Holding(adopterOf);
    this.predecessor = new End(left, 'predecessor', (frame) => this.#atPredecessor(frame));
    this.successor = new End(right, 'successor', (frame) => this.#atSuccessor(frame));
    const { channel } = this.predecessor;
    this.offering = new Offering(
      {
        offer: (offer, fds) => channel.send('OFFER', offer, fds),
        go: (batch) => channel.send('GO', { batch }),
      },
      candidates,
      () => this.settled++,
    );
    onTestFinished(async () => {
      await this.predecessor.die();
      await this.successor.die();
      this.holding.abortAll();
    });
  }

  static between(from: Pick<Site, 'managed'>, to: Pick<Site, 'managed'>): Transfer {
    return new Transfer(
      () => from.managed.movable(),
      (listener) => (listener === 'web' ? to.managed.adopter : undefined),
    );
  }

  /** Both sides go on by themselves from here. */
  run(): void {
    void this.predecessor.run();
    void this.successor.run();
  }

  async abort(batch: number): Promise<void> {
    await this.predecessor.channel.send('ABORT', { batch });
  }

  #atPredecessor(frame: Frame | undefined): void {
    if (frame?.name === 'HELD') this.offering.onHeld(frame.payload);
    if (!frame) this.offering.takeBack();
  }

  #atSuccessor(frame: Frame | undefined): void {
    if (!frame) void this.holding.goAll();
    else if (frame.name === 'OFFER') {
      this.holding.hold(frame.payload, frame.fds, (held) => {
        this.successor.channel.send('HELD', held).catch(() => {});
      });
    } else {
      closeFds(frame.fds);
      if (frame.name === 'GO') this.holding.go(frame.payload.batch);
      if (frame.name === 'ABORT') this.holding.abort(frame.payload.batch ?? 0);
    }
  }
}

/** So many turns of the loop: whoever reads has read by then. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

/** Bytes of this client that the kernel holds and no process has read (proc(5), /proc/net/tcp). */
export function unread(port: number, client: Wire): number {
  const hex = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((row) => row.trim().split(/\s+/))
    .find(([, local, remote]) => local?.endsWith(`:${hex(port)}`) && remote?.endsWith(`:${hex(client.localPort)}`));
  return Number.parseInt(line?.[4]?.split(':')[1] ?? 'NaN', 16);
}

/** So many connections are there, as the server counts them. */
export async function counted({ managed }: Pick<Site, 'managed'>, count: number): Promise<void> {
  await until(() => managed.connectionCount === count, { what: `${count} connections` });
}
