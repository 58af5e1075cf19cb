// Clients of the raw TCP server: each keeps one connection, sends numbered lines, and expects each back with how many came
// before it on that connection, whichever generation answers.
import net from 'node:net';
import { ANSWER_TIMEOUT } from './load.js';

const CLIENTS = 6;
const INTERVAL = 200;

export interface RawResult {
  readonly sent: number;
  readonly answered: number;
  /** Connections that could not be made, and that ended although nobody here had ended them. */
  readonly refused: number;
  readonly closed: number;
  /** Answers that were not the expected ones, by what came instead. */
  readonly wrong: readonly string[];
}

interface Talk {
  readonly socket: net.Socket;
  sent: number;
  answered: number;
  rest: string;
}

export class RawClients {
  readonly #port: number;
  readonly #talks: Talk[];
  readonly #ticking: NodeJS.Timeout;
  readonly #wrong: string[] = [];
  #refused = 0;
  #closed = 0;
  #hasEnded = false;

  constructor(port: number) {
    this.#port = port;
    this.#talks = Array.from({ length: CLIENTS }, () => this.#talk());
    this.#ticking = setInterval(() => {
      for (const talk of this.#talks) this.#send(talk);
    }, INTERVAL);
  }

  /** Waits for what was sent, and closes. */
  async end(hurry: AbortSignal): Promise<RawResult> {
    clearInterval(this.#ticking);
    const deadline = performance.now() + ANSWER_TIMEOUT;
    const waits = (): boolean =>
      this.#talks.some(({ socket, sent, answered }) => answered < sent && !socket.destroyed) &&
      performance.now() < deadline &&
      !hurry.aborted;
    while (waits()) await new Promise((resolve) => setTimeout(resolve, 10));
    this.#hasEnded = true;
    for (const { socket } of this.#talks) socket.destroy();
    const sum = (of: (talk: Talk) => number): number => this.#talks.reduce((total, talk) => total + of(talk), 0);
    return {
      sent: sum(({ sent }) => sent),
      answered: sum(({ answered }) => answered),
      refused: this.#refused,
      closed: this.#closed,
      wrong: this.#wrong,
    };
  }

  #talk(): Talk {
    const socket = net.connect(this.#port, '127.0.0.1').setEncoding('latin1');
    const talk: Talk = { socket, sent: 0, answered: 0, rest: '' };
    let isConnected = false;
    socket.once('connect', () => {
      isConnected = true;
    });
    socket.on('error', () => {}); // 'close' counts it
    socket.on('close', () => {
      if (this.#hasEnded) return;
      if (isConnected) this.#closed++;
      else this.#refused++;
    });
    socket.on('data', (text: string) => this.#receive(talk, text));
    return talk;
  }

  /** One at a time, so that the answers say nothing about Nagle. */
  #send(talk: Talk): void {
    if (talk.socket.destroyed || talk.socket.connecting) return;
    talk.socket.write(`line ${talk.sent++}\n`);
  }

  #receive(talk: Talk, text: string): void {
    const lines = (talk.rest + text).split('\n');
    talk.rest = lines.pop() ?? '';
    for (const line of lines) {
      const expected = `${talk.answered} line ${talk.answered}`;
      if (line === expected) talk.answered++;
      else if (this.#wrong.length < 100) this.#wrong.push(`"${line}" instead of "${expected}"`);
    }
  }
}
