// The clients of a chaos run: every kind of them at once, each request and message numbered and asked exactly once.
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Client, type Failure, type Target } from '../faults/client.js';

const COUNTS = { keepAlive: 6, backToBack: 4, fresh: 4, idle: 12, half: 2, slow: 3, talkers: 4, unix: 2 };
const PAUSE_AFTER_FAILURE = 50;

export class Crowd {
  readonly client: Client;
  readonly #talkers: Talker[];
  readonly #talks: Promise<void>[] = [];

  constructor(prefix: string, port: number) {
    this.client = new Client(prefix);
    this.#talkers = Array.from({ length: COUNTS.talkers }, (_, i) => new Talker(`${prefix}-ws${i}`, port));
  }

  begin(tcp: Target, unix: Target): void {
    const { client } = this;
    const times = (count: number, begin: () => void): void => Array.from({ length: count }).forEach(begin);
    const stays = { target: tcp, fresh: false, stays: true };
    times(COUNTS.keepAlive, () => client.loop({ ...stays, think: 150, takes: [0, 40] }));
    // The next request follows the answer at once: the connection is never seen idle for long.
    times(COUNTS.backToBack, () => client.loop({ ...stays, think: 0, takes: [100, 1_900] }));
    times(COUNTS.idle, () => client.loop({ ...stays, think: 4_000 }));
    times(COUNTS.half, () => client.loop({ ...stays, think: 200, half: 1_500 }));
    times(COUNTS.slow, () => client.loop({ ...stays, think: 1_500, takes: [2_000, 6_000] }));
    times(COUNTS.fresh, () => client.loop({ target: tcp, fresh: true, think: 250, takes: [0, 100] }));
    client.loop({ target: unix, fresh: true, think: 250 });
    client.loop({ target: unix, fresh: false, think: 250, stays: true });
    this.#talks.push(...this.#talkers.map((talker) => talker.run()));
  }

  get requests(): number {
    return this.client.requests + this.#talkers.reduce((sum, { messages }) => sum + messages, 0);
  }

  get failures(): readonly Failure[] {
    return [...this.client.failures, ...this.#talkers.flatMap(({ failures }) => failures)];
  }

  /** Awaits what is in flight; after `deadline` ms it counts as lost. */
  async stop(deadline: number): Promise<void> {
    for (const talker of this.#talkers) talker.stop(deadline);
    await Promise.all([this.client.stop(deadline), ...this.#talks]);
  }
}

interface Loss {
  readonly kind: Failure['kind'];
  readonly detail: string;
}

/** Keeps one WebSocket: a message and its echo, which counts them, one after another. */
class Talker {
  readonly failures: Failure[] = [];
  messages = 0;
  readonly #name: string;
  readonly #port: number;
  #isStopped = false;
  #onStop: () => void = () => {};
  #deadline = 0;

  constructor(name: string, port: number) {
    this.#name = name;
    this.#port = port;
  }

  stop(deadline: number): void {
    this.#deadline = deadline;
    this.#isStopped = true;
    this.#onStop();
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      const opened = now();
      const socket = connect({ port: this.#port, host: '127.0.0.1' });
      let port: number | undefined;
      socket.once('connect', () => {
        port = socket.localPort;
      });
      const loss = await this.#talk(socket);
      socket.destroy();
      if (loss === undefined) continue;
      const id = `${this.#name}-${this.messages}`;
      const rest = { port, before: undefined, target: 'tcp', opened, at: now(), isPolite: false } as const;
      this.failures.push({ id, ...loss, ...rest });
      await pause(PAUSE_AFTER_FAILURE);
    }
  }

  /** Until it is stopped, or with what went wrong. */
  #talk(socket: Socket): Promise<Loss | undefined> {
    const ws = new WebSocket(`ws://127.0.0.1:${this.#port}/`, {
      perMessageDeflate: false,
      createConnection: () => socket,
    });
    let count = 0;
    let isOpen = false;
    let isAnswered = true;
    return new Promise((resolve) => {
      const ask = (): void => {
        if (this.#isStopped) resolve(undefined);
        if (this.#isStopped || ws.readyState !== WebSocket.OPEN) return;
        count += 1;
        this.messages += 1;
        isAnswered = false;
        ws.send(String(count));
      };
      const lost = (kind: Failure['kind'], detail: string): void => {
        const what = isAnswered ? `${count} messages` : `message ${count}`;
        resolve({ kind, detail: `WebSocket: ${detail} after ${what}` });
      };
      ws.on('open', () => {
        isOpen = true;
        ask();
      });
      ws.on('message', (data) => {
        const [, echoed, counted] = String(data).split(' ');
        if (isAnswered) return lost('twice', `nobody asked for ${data}`);
        isAnswered = true;
        if (echoed !== String(count) || counted !== String(count)) return lost('wrong', `${data} for ${count}`);
        setTimeout(ask, Math.random() * 150);
      });
      ws.on('error', (error: NodeJS.ErrnoException) => {
        const isRefused = !isOpen && (error.code === 'ECONNREFUSED' || error.code === undefined);
        lost(isRefused ? 'refused' : 'lost', error.code ?? error.message);
      });
      ws.on('close', (code) => lost('lost', `closed with ${code}`));
      this.#onStop = () => {
        setTimeout(
          () => (isAnswered ? resolve(undefined) : lost('lost', 'no answer')),
          isAnswered ? 0 : this.#deadline,
        );
      };
    });
  }
}

/** The clock of the servers' lines. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
