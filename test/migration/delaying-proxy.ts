// A long way to the server: a TCP proxy in user space that keeps back what each side sends, for a while, in its order,
// ends and resets included.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Milliseconds in each direction: `base`, give or take up to `jitter`. */
export interface Delay {
  readonly base: number;
  readonly jitter?: number;
}

export class DelayingProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #lanes: Lane[] = [];

  private constructor(server: Server, target: number, delay: Delay) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => {
      const upstream = connect({ port: target, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      client.setNoDelay();
      this.#lanes.push(new Lane(client, upstream, delay), new Lane(upstream, client, delay));
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('close', () => this.#sockets.delete(socket));
      }
    });
  }

  /** Gone at the end of the test. */
  static async before(target: number, delay: Delay): Promise<DelayingProxy> {
    const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new DelayingProxy(server, target, delay);
    onTestFinished(() => proxy.close());
    return proxy;
  }

  async close(): Promise<void> {
    for (const lane of this.#lanes) lane.close();
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }
}

interface Parcel {
  readonly due: number;
  deliver(): void;
}

/** One direction. */
class Lane {
  readonly #delay: Required<Delay>;
  readonly #parcels: Parcel[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, { base, jitter = 0 }: Delay) {
    this.#delay = { base, jitter };
    from.on('data', (bytes) => this.#send(() => void to.write(bytes)));
    from.on('end', () => this.#send(() => to.end()));
    from.on('error', () => this.#send(() => to.resetAndDestroy()));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#parcels.length = 0;
  }

  #send(deliver: () => void): void {
    const { base, jitter } = this.#delay;
    const due = performance.now() + base + (Math.random() * 2 - 1) * jitter;
    // Nothing overtakes.
    this.#parcels.push({ due: Math.max(due, this.#parcels.at(-1)?.due ?? 0), deliver });
    if (this.#parcels.length === 1) this.#wait();
  }

  #wait(): void {
    const [first] = this.#parcels;
    if (!first) return;
    this.#timer = setTimeout(() => {
      while (this.#parcels[0] && this.#parcels[0].due <= performance.now()) this.#parcels.shift()?.deliver();
      this.#wait();
    }, first.due - performance.now());
  }
}
