// A program that is measured and tells in lines what it does: those it starts itself share its output, so that it counts as
// ended when the last of them has.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';

export interface ProgramOptions {
  readonly args: readonly string[];
  /** @default this Node */
  readonly command?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const END_TIMEOUT = 15_000;
/** Above what a reload of the slowest takes. */
const SAYS_TIMEOUT = 60_000;

export class Program {
  readonly child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #said: string[] = [];
  /** How many of the lines somebody has waited for. */
  #heard = 0;
  #isClosed = false;
  #wake: () => void = () => {};

  constructor({ args, command = process.execPath, env = {} }: ProgramOptions) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.child.once('error', (error) => this.#said.push(error.message));
    this.#closed = once(this.child, 'close').catch(() => {});
    void this.#closed.then(() => {
      this.#isClosed = true;
      this.#wake();
    });
    for (const input of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: input as NodeJS.ReadableStream }).on('line', (line) => {
        this.#said.push(line);
        this.#wake();
      });
    }
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  signal(signal: NodeJS.Signals, pid: number = this.pid): void {
    process.kill(pid, signal);
  }

  /** Resolves with the next line that matches, after those that were waited for. @throws Error it has ended, or hangs */
  async says(what: RegExp, timeout = SAYS_TIMEOUT): Promise<string> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, timeout);
    try {
      return await this.#next(what, () => (isLate ? `did not say ${what} within ${timeout} ms` : undefined));
    } finally {
      clearTimeout(timer);
    }
  }

  async #next(what: RegExp, problem: () => string | undefined): Promise<string> {
    for (;;) {
      while (this.#heard < this.#said.length) {
        const line = this.#said[this.#heard++] ?? '';
        if (what.test(line)) return line;
      }
      const why = this.#isClosed ? `ended before it said ${what}` : problem();
      if (why) throw new Error(`${this.child.spawnargs.slice(1).join(' ')} ${why}:\n${this.#said.join('\n')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Tells it, or whoever it has become, to end; resolves when nobody of them is left. */
  async end(pid: number = this.pid): Promise<void> {
    // One of ours that has been reaped has no pid any more.
    if (pid === this.pid) this.child.kill('SIGTERM');
    else if (!this.#isClosed) tell(pid, 'SIGTERM');
    const timer = setTimeout(() => {
      tell(pid, 'SIGKILL');
      this.child.kill('SIGKILL');
    }, END_TIMEOUT);
    await this.#closed;
    clearTimeout(timer);
  }
}

function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has gone by itself.
  }
}

export async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as net.AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

const START_TIMEOUT = 20_000;
const ASK_AGAIN = 50;

/** For those who do not tell when they listen. */
export async function answers(port: number): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT;
  for (;;) {
    try {
      const signal = AbortSignal.timeout(Math.max(1, Math.ceil(deadline - performance.now())));
      await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' }, signal })).text();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
  }
}

/** @throws Error it takes longer, and goes on */
export async function within<T>(promise: Promise<T>, timeout: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${timeout} ms`)), timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
