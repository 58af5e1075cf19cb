// A program that is told by IPC what to do, and answers each order with one message. It ends with the channel.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface ToldOptions {
  readonly args?: readonly string[];
  /** The program gets it as descriptor 3; borrowed. */
  readonly fd?: number;
}

export class Told {
  readonly #child: ChildProcess;

  constructor(program: URL, { args = [], fd }: ToldOptions = {}) {
    const stdio = ['ignore', 'inherit', 'inherit', ...(fd === undefined ? [] : [fd]), 'ipc'] as const;
    this.#child = fork(fileURLToPath(program), [...args], { execArgv: [], stdio: [...stdio] });
  }

  /** Without an order: its next message. @throws Error it ended instead, or answered with an `error` */
  async tell<T>(order?: object): Promise<T> {
    const ended = new AbortController();
    const answered = once(this.#child, 'message', { signal: ended.signal }) as Promise<[T & { error?: string }]>;
    const onExit = (): void => ended.abort(new Error('the process ended'));
    this.#child.once('exit', onExit);
    if (order) this.#child.send(order);
    try {
      const [answer] = await answered;
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer;
    } finally {
      this.#child.off('exit', onExit);
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.disconnect();
    await exit;
  }
}
