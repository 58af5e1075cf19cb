// Programs as tests use them: started as real processes, ready when they say so, ended by pid, none left behind.
// They talk in lines of JSON on stdout: `{"type":"ready","pid":4711}`; not over IPC, because a parent with an IPC
// channel is one of the things a handover behaves differently under.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { aroundEach } from 'vitest';
import { Lines } from './lines.js';
import { alive, commandOf, gone, identify, type ProcessId, processesMarked, signal } from './processes.js';
import { until } from './until.js';

const MARK = 'HANDOVER_TEST_MARK';
/** Milliseconds. A wait that ends by this has failed; how fast a busy machine is, is not what the tests look at. */
const DEFAULT_TIMEOUT = 30_000;
/** Milliseconds for what is ending already when its test is done. */
const ENDING_TIME = 2_000;
/** What the way the suite itself was started must not change about a program. */
const NOT_INHERITED =
  /^(VITEST|npm_|LISTEN_|EINHORN_|SERVER_STARTER_|WATCHDOG_|NODE_ENV$|NODE_OPTIONS$|NOTIFY_SOCKET$)/;

/** How a process ended: both, because a test that looks at one alone takes a crash for a clean exit. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StartOptions {
  readonly args?: readonly string[];
  /** On top of this process's environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Options of Node itself. */
  readonly execArgv?: readonly string[];
  readonly cwd?: string;
  /** Descriptors of this process the program gets as 3, 4, …; borrowed. */
  readonly fds?: readonly number[];
  /** Leads its own process group and session. @default false */
  readonly detached?: boolean;
}

/** A program that was started, and all who share its stdout and stderr: its successors, unless they redirect. */
export class Program implements AsyncDisposable {
  readonly pid: number;
  readonly id: ProcessId;
  readonly child: ChildProcess;
  /** Resolves when it has exited and everyone who shares its output has, too. */
  readonly closed: Promise<void>;
  readonly #out = new Lines();
  readonly #err = new Lines();
  readonly #exited: Promise<Exit>;

  constructor(child: ChildProcess, pid: number) {
    this.child = child;
    this.pid = pid;
    this.id = identify(pid) ?? { pid, startTime: 'ended at once' };
    for (const [stream, lines] of [
      [child.stdout, this.#out],
      [child.stderr, this.#err],
    ] as const) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => lines.add(chunk));
      stream?.once('close', () => lines.end());
    }
    // A program that ends without reading what it was told: its exit tells more than our EPIPE.
    child.stdin?.on('error', () => {});
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, name) => resolve({ code, signal: name }));
    });
    this.closed = new Promise((resolve) => {
      child.once('close', () => resolve());
    });
  }

  /** All it wrote so far. */
  get stdout(): string {
    return this.#out.text;
  }

  get stderr(): string {
    return this.#err.text;
  }

  /** The next line on stdout that matches, claimed: the same wait again waits for another such line. */
  line(pattern: RegExp, timeout = DEFAULT_TIMEOUT): Promise<RegExpExecArray> {
    return this.#explained(this.#out.next((line) => pattern.exec(line) ?? undefined, `line like ${pattern}`, timeout));
  }

  /** As {@link line}, on stderr. */
  errorLine(pattern: RegExp, timeout = DEFAULT_TIMEOUT): Promise<RegExpExecArray> {
    return this.#explained(
      this.#err.next((line) => pattern.exec(line) ?? undefined, `stderr like ${pattern}`, timeout),
    );
  }

  /** The next line of JSON whose `type` is this one, claimed. `T` is what the test knows the program to send. */
  message<T extends object>(type: string, timeout = DEFAULT_TIMEOUT): Promise<T> {
    return this.#explained(this.#out.next((line) => parse<T>(line, type), `message "${type}"`, timeout));
  }

  /** Writes one line of JSON to its stdin. */
  tell(message: object): void {
    this.child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  /** How it ends; rejects, with its output, when it has not within `timeout`. */
  exit(timeout = DEFAULT_TIMEOUT): Promise<Exit> {
    return this.#explained(within(this.#exited, timeout, `process ${this.pid} to exit`));
  }

  /** Signals it, nobody else, and waits for its end. */
  stop(name: NodeJS.Signals = 'SIGTERM', timeout = DEFAULT_TIMEOUT): Promise<Exit> {
    this.child.kill(name);
    return this.exit(timeout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }

  async #explained<T>(wait: Promise<T>): Promise<T> {
    try {
      return await wait;
    } catch (cause) {
      const output = `--- stdout\n${this.stdout}--- stderr\n${this.stderr}`;
      throw new Error(`${cause instanceof Error ? cause.message : cause}\n${output}`, { cause });
    }
  }
}

/** A process somebody else started, such as a detached successor: followed by its pid. */
export interface Followed extends ProcessId {
  alive(): boolean;
  /** Resolves when it has gone. Nobody but its parent learns how. */
  gone(timeout?: number): Promise<void>;
  /** Signals it, if it is still the same process. */
  signal(name: NodeJS.Signals): boolean;
}

/** What {@link usePrograms} gives a test file. */
export interface Programs {
  /** Starts `test/fixtures/<name>`, or the program at a URL, with the Node that runs the tests. */
  start(program: string | URL, options?: StartOptions): Program;
  /** Follows the process that has this pid now; throws when there is none. */
  follow(pid: number): Followed;
}

/**
 * Lets the tests of this file start programs. After each test whatever still runs of them, their successors included
 * (on Linux also those that left the process tree), is killed, and the test fails naming it: a test stops what it
 * starts, and waits for it. Call it after `expectNoLeaks()`.
 */
export function usePrograms(): Programs {
  let mark: string | undefined;
  const programs = new Set<Program>();
  const followed = new Set<ProcessId>();

  const survivors = (): ProcessId[] => {
    const byPid = new Map<number, ProcessId>();
    for (const id of [...[...programs].map((program) => program.id), ...followed]) {
      if (alive(id)) byPid.set(id.pid, id);
    }
    for (const id of processesMarked(MARK, mark ?? '')) byPid.set(id.pid, id);
    return [...byPid.values()];
  };

  /** What does not end by itself: a generation that has handed over may be on its way out when its test is done. */
  const leftAfter = async (timeout: number): Promise<string[]> => {
    await until(() => survivors().length === 0, { what: 'programs to end', timeout, interval: 5 }).catch(() => {});
    return survivors().map(({ pid }) => `${pid}: ${commandOf(pid)}`);
  };

  aroundEach(async (runTest, { task }) => {
    mark = randomUUID();
    await runTest();
    // A test that failed half way has no chance to stop what it started.
    const left = task.result?.state === 'fail' ? [] : await leftAfter(ENDING_TIME);
    await until(() => survivors().filter((id) => signal(id, 'SIGKILL')).length === 0, {
      what: 'killed programs to end',
    });
    await Promise.all([...programs].map((program) => within(program.closed, DEFAULT_TIMEOUT, 'output to close')));
    programs.clear();
    followed.clear();
    mark = undefined;
    if (left.length > 0) {
      throw new Error(`the test left processes running:\n  ${left.join('\n  ')}`);
    }
  });

  return {
    start(program, options = {}) {
      if (mark === undefined)
        throw new Error('programs are started inside a test, so that the test can account for them');
      const started = launch(program, options, mark);
      programs.add(started);
      return started;
    },
    follow(pid) {
      const id = identify(pid);
      if (id === undefined) throw new Error(`process ${pid} does not run`);
      followed.add(id);
      return {
        ...id,
        alive: () => alive(id),
        gone: (timeout = DEFAULT_TIMEOUT) => gone(id, timeout),
        signal: (name) => signal(id, name),
      };
    },
  };
}

function launch(program: string | URL, options: StartOptions, mark: string): Program {
  const file = program instanceof URL ? program : new URL(`../fixtures/${program}`, import.meta.url);
  const { args = [], execArgv = [], fds = [], detached = false, cwd, env } = options;
  const child = spawn(process.execPath, [...execArgv, fileURLToPath(file), ...args], {
    stdio: ['pipe', 'pipe', 'pipe', ...fds],
    detached,
    env: { ...inheritedEnvironment(), ...env, [MARK]: mark },
    ...(cwd === undefined ? {} : { cwd }),
  });
  // No pid: spawn failed, and says why in an 'error' event that nobody needs to hear twice.
  child.once('error', () => {});
  if (child.pid === undefined) throw new Error(`could not start ${child.spawnargs.join(' ')}`);
  return new Program(child, child.pid);
}

function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name)));
}

function parse<T extends object>(line: string, type: string): T | undefined {
  try {
    const message: unknown = JSON.parse(line);
    if (typeof message !== 'object' || message === null) return undefined;
    return 'type' in message && message.type === type ? (message as T) : undefined;
  } catch {
    return undefined;
  }
}

async function within<T>(promise: Promise<T>, timeout: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${timeout} ms for ${what}`)), timeout);
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}
