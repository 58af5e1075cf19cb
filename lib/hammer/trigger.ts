// Makes the server switch under load: runs a command or sends a signal, once or at intervals.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface TriggerOptions {
  /** Run by the shell. */
  readonly exec?: string;
  /** A pid, `@FILE` that holds one, or `identified`. */
  readonly signal?: string;
  readonly signalName: NodeJS.Signals;
  /** Interval in milliseconds; absent: once, in the middle. */
  readonly every?: number;
}

export interface Triggered {
  readonly atMs: number;
  /** Why it failed. */
  error?: string;
}

/** Milliseconds that a command may still run after the run; then it gets SIGTERM. */
const PATIENCE = 10_000;
/** Milliseconds from SIGTERM to SIGKILL. */
const GRACE = 1_000;

export class Trigger {
  readonly fired: Triggered[] = [];
  readonly #options: TriggerOptions;
  readonly #now: () => number;
  readonly #newest: () => string | undefined;
  readonly #running = new Map<ChildProcess, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  /** `newest` returns the identity of the process in charge. */
  constructor(options: TriggerOptions, now: () => number, newest: () => string | undefined) {
    this.#options = options;
    this.#now = now;
    this.#newest = newest;
  }

  start(duration: number): void {
    const { every } = this.#options;
    if (every === undefined) this.#timer = setTimeout(() => this.#fire(), duration / 2);
    else this.#timer = setInterval(() => this.#fire(), every);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Resolves when the running commands have ended or were killed. */
  async finished(patience: number = PATIENCE): Promise<void> {
    const end = (signal: NodeJS.Signals): void => {
      for (const { pid } of this.#running.keys()) if (pid !== undefined) signalGroup(pid, signal);
    };
    const timers = [setTimeout(end, patience, 'SIGTERM'), setTimeout(end, patience + GRACE, 'SIGKILL')];
    await Promise.all(this.#running.values());
    for (const timer of timers) clearTimeout(timer);
  }

  #fire(): void {
    const { exec, signal = '' } = this.#options;
    const triggered: Triggered = { atMs: Math.round(this.#now() * 1_000) / 1_000 };
    this.fired.push(triggered);
    try {
      if (exec === undefined) process.kill(this.#pid(signal), this.#options.signalName);
      else this.#run(exec, triggered);
    } catch (error) {
      triggered.error = (error as Error).message;
    }
  }

  #pid(signal: string): number {
    const text =
      signal === 'identified'
        ? this.#newest()
        : signal.startsWith('@')
          ? readFileSync(signal.slice(1), 'utf8')
          : signal;
    const pid = Number(text?.trim());
    // 0 and negative numbers mean whole groups of processes.
    if (Number.isSafeInteger(pid) && pid > 0) return pid;
    throw new Error(`${text === undefined ? 'no process has answered yet' : `'${text.trim()}'`}: no pid to signal`);
  }

  #run(command: string, triggered: Triggered): void {
    // In a group of its own: a signal to the shell alone would not reach the command it waits for.
    const child = spawn(command, { shell: true, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints = (complaints + text).slice(-500);
    });
    const ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        triggered.error = error.message;
        resolve();
      });
      child.once('exit', (code, signal) => {
        if (code !== 0) triggered.error = `ended with ${signal ?? `exit code ${code}`} ${complaints.trim()}`.trim();
        // A daemon that the command started may keep the pipe open.
        child.stderr.destroy();
        this.#running.delete(child);
        resolve();
      });
    });
    this.#running.set(child, ended);
  }
}

/** Signals the shell and its children, except those that lead a group of their own. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
