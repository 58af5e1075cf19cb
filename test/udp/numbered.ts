// A client whose datagrams carry numbers, and which counts the answers to each.
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';

const DEADLINE = 10_000;
/** Room for every answer that can be under way: the kernel drops what does not fit. */
const RECEIVE_BYTES = 4 << 20;

export type Family = 'udp4' | 'udp6';

export class Numbered {
  sent = 0;
  /** Answers that came, by the process that gave them. */
  readonly answers = new Map<number, number>();
  readonly #socket: dgram.Socket;
  readonly #port: number;
  readonly #host: string;
  /** Of each number: how many answers. */
  readonly #counts: number[] = [];
  #answered = 0;
  #window = 0;
  #wake: () => void = () => {};

  private constructor(socket: dgram.Socket, port: number, host: string) {
    this.#socket = socket;
    this.#port = port;
    this.#host = host;
    socket.on('message', (message) => this.#onAnswer(String(message)));
    onTestFinished(async () => {
      this.#window = 0;
      socket.close();
      await once(socket, 'close');
    });
  }

  static async open(family: Family, port: number, host: string): Promise<Numbered> {
    const socket = dgram.createSocket(family);
    socket.bind(0, host);
    await once(socket, 'listening');
    socket.setRecvBufferSize(RECEIVE_BYTES);
    return new Numbered(socket, port, host);
  }

  /** From now on so many are under way at any time: what is answered is followed by another. */
  flow(window: number): this {
    this.#window = window;
    this.#pump();
    return this;
  }

  /** Sends so many at once, answered or not. */
  burst(count: number): void {
    for (let i = 0; i < count; i++) this.#send();
  }

  /** Resolves when this process has given so many more answers. */
  async answered(pid: number, count: number): Promise<void> {
    const enough = (this.answers.get(pid) ?? 0) + count;
    await this.#until(() => (this.answers.get(pid) ?? 0) >= enough, `${count} answers of ${pid}`);
  }

  /** Sends no more, and resolves when every number has its answer. */
  async settle(): Promise<void> {
    this.#window = 0;
    await this.#until(() => this.#answered === this.sent, 'every datagram to be answered');
  }

  /** What must be empty: numbers with another count of answers than one. */
  get wrong(): Record<number, number> {
    return Object.fromEntries(
      Array.from({ length: this.sent }, (_, number) => [number, this.#counts[number] ?? 0]).filter(([, n]) => n !== 1),
    );
  }

  #pump(): void {
    while (this.sent - this.#answered < this.#window) this.#send();
  }

  #send(): void {
    this.#socket.send(`${this.sent++}`, this.#port, this.#host);
  }

  #onAnswer(text: string): void {
    const [pid = Number.NaN, number = Number.NaN] = text.split(' ').map(Number);
    const count = (this.#counts[number] ?? 0) + 1;
    this.#counts[number] = count;
    if (count === 1) this.#answered++;
    this.answers.set(pid, (this.answers.get(pid) ?? 0) + 1);
    this.#pump();
    this.#wake();
  }

  async #until(isEnough: () => boolean, what: string): Promise<void> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, DEADLINE);
    while (!isEnough() && !isLate) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(timer);
    if (isEnough()) return;
    const wrong = Object.entries(this.wrong);
    const answers = JSON.stringify([...this.answers]);
    throw new Error(
      `waited ${DEADLINE} ms for ${what}: ${wrong.length} of ${this.sent} are without one answer, the first ` +
        `${JSON.stringify(wrong.slice(0, 5))}; answers by process: ${answers}`,
    );
  }
}

interface KernelSocket {
  /** Datagrams the kernel had no room for. */
  readonly drops: number;
  /** Bytes that wait to be read. */
  readonly queued: number;
}

/** What the kernel says of the socket bound to a port (proc_pid_net(5), /proc/net/udp). */
export function kernelSocket(family: Family, port: number): KernelSocket {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const row = readFileSync(family === 'udp6' ? '/proc/net/udp6' : '/proc/net/udp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find(([, local]) => local?.endsWith(suffix));
  if (!row) throw new Error(`no ${family} socket at port ${port}`);
  return { drops: Number(row.at(-1)), queued: Number.parseInt(row[4]?.split(':')[1] ?? '', 16) };
}
