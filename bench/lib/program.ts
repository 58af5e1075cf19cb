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

  /** Resolves with the next line that matches, after those that were waited for. @throws Error it has ended */
  async says(what: RegExp): Promise<string> {
    for (;;) {
      while (this.#heard < this.#said.length) {
        const line = this.#said[this.#heard++] ?? '';
        if (what.test(line)) return line;
      }
      if (this.#isClosed) {
        throw new Error(
          `${this.child.spawnargs.slice(1).join(' ')} ended before it said ${what}:\n${this.#said.join('\n')}`,
        );
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Tells it, or whoever it has become, to end; resolves when nobody of them is left. */
  async end(pid: number = this.pid): Promise<void> {
    if (!this.#isClosed) tell(pid, 'SIGTERM');
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

/** For those who do not tell when they listen; asks again after so many ms. */
export async function answers(port: number, pause = 50): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT;
  for (;;) {
    try {
      await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
