// A server that is soaked, through all its generations: started, followed by what it says, handed over, ended.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { commandOf, identify, isAlive, marked, type ProcessId, signal } from '../lib/process-id.mjs';
import type { TargetKind } from './options.js';
import { hasOpen } from './proc.js';
import { until } from './until.js';

export const COMMAND: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Of no other use to Node, to V8's profiler (SIGPROF) or to `handover run`, which forwards some. */
const SNAPSHOT_SIGNAL = 'SIGIO';

const START_TIMEOUT = 60_000;
/** Above what a drain may take (30 s). */
export const END_TIMEOUT = 45_000;
const SNAPSHOT_TIMEOUT = 60_000;
const KILL_TIMEOUT = 5_000;
const LINE_TIMEOUT = 5_000;
const LINES_KEPT = 20;
/** What `handover run` says when a worker was not replaced, or ended by itself. */
const SUPERVISOR_FAILURE = /^handover run: (the roll paused|worker .*(ended with|is started again|drains:))/;

/** How many answers a generation says it has given. */
export interface Answers {
  readonly http: number;
  readonly raw: number;
}

export interface Generation {
  readonly generation: number;
  readonly process: ProcessId;
  /** By `performance.now()` of this process. */
  readonly inChargeAt: number;
}

/** What a generation said at its end. */
export interface Ended {
  readonly code: number;
  /** Of all generations up to this one. */
  readonly answered: Answers;
  /** Of it alone, after it had passed its count on. */
  readonly late: Answers;
}

export interface TargetOptions {
  readonly kind: TargetKind;
  readonly app: string;
  /** A directory of its own. */
  readonly directory: string;
  readonly port: number;
  readonly rawPort: number;
  readonly probation: number;
  /** Gets every line its processes say. */
  readonly log: string;
}

export class Target {
  readonly kind: TargetKind;
  readonly ports: readonly [http: number, raw: number];
  readonly ledger: string;
  /** Where its temporary files and sockets are; empty when all is well at the end. */
  readonly state: string;
  readonly snapshots: string;
  /** Those that were in charge, in order. */
  readonly generations: Generation[] = [];
  /** By generation: in a long soak pids come again. */
  readonly ended = new Map<number, Ended>();
  /** Handovers that did not come about, and why. */
  readonly failures: string[] = [];
  /** Lines that are no log entries: a stack, say. */
  readonly output: string[] = [];
  /** In the environment of each of its processes. */
  readonly mark: string = `VERIFY_RUN=${randomUUID()}`;
  readonly #options: TargetOptions;
  #child: ChildProcess | undefined;
  /** How the process we started ended. */
  #exit: string | undefined;

  constructor(options: TargetOptions) {
    const { kind, directory, port, rawPort } = options;
    this.#options = options;
    this.kind = kind;
    this.ports = [port, rawPort];
    this.ledger = join(directory, 'ledger');
    this.state = join(directory, 'state');
    this.snapshots = join(directory, 'snapshots');
    for (const folder of [directory, this.state, this.snapshots]) mkdirSync(folder, { mode: 0o700 });
  }

  get inCharge(): Generation | undefined {
    return this.generations.at(-1);
  }

  /** Every process of it that lives. */
  get alive(): ProcessId[] {
    return marked(this.mark).flat();
  }

  /** The process that stays although generations change, where there is one. */
  get stays(): ProcessId | undefined {
    if (this.kind === 'steady') return this.generations[0]?.process;
    return this.kind === 'supervisor' ? this.#started : undefined;
  }

  /** Processes at rest, and while it hands over. */
  get expected(): { readonly atRest: number; readonly atMost: number } {
    return { chain: { atRest: 1, atMost: 2 }, supervisor: { atRest: 2, atMost: 3 }, steady: { atRest: 1, atMost: 1 } }[
      this.kind
    ];
  }

  get exit(): string | undefined {
    return this.#exit;
  }

  get #started(): ProcessId | undefined {
    const pid = this.#child?.pid;
    return pid === undefined ? undefined : identify(pid);
  }

  /** Resolves when it serves. @throws Error it did not */
  async start(interrupted: AbortSignal): Promise<void> {
    const { kind, app, port, rawPort, probation } = this.#options;
    const node = [`--heapsnapshot-signal=${SNAPSHOT_SIGNAL}`, `--diagnostic-dir=${this.snapshots}`];
    const server = [process.execPath, ...node, app];
    const run = [...node, COMMAND, 'run', '--settle', '0', '--', ...server];
    const [name = '', value = ''] = this.mark.split('=');
    const variables = {
      VERIFY_PORT: String(port),
      VERIFY_RAW_PORT: String(rawPort),
      VERIFY_LEDGER: this.ledger,
      VERIFY_STATE: this.state,
      VERIFY_PROBATION: String(probation),
      VERIFY_PARENT: String(process.pid),
      ...(kind === 'supervisor' ? { VERIFY_SUPERVISED: '1' } : {}),
      TMPDIR: this.state,
      [name]: value,
    };
    // A session of its own: Ctrl-C in a terminal ends the soak, and the soak ends the servers.
    this.#child = spawn(process.execPath, kind === 'supervisor' ? run : server.slice(1), {
      cwd: this.state,
      env: { ...process.env, ...variables },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#follow(this.#child);
    const serves = (): boolean => this.inCharge !== undefined || this.#exit !== undefined;
    await until(serves, START_TIMEOUT, interrupted);
    if (this.inCharge === undefined && !interrupted.aborted) {
      throw new Error(`${kind}: ${this.#exit ?? 'nobody in charge in time'}\n${this.output.join('\n')}`);
    }
  }

  /** One handover, to the end of the old generation. What goes wrong is in `failures`. */
  async handOver(hurry: AbortSignal): Promise<void> {
    const old = this.inCharge;
    const told = this.kind === 'supervisor' ? this.#started : old?.process;
    const what = `after generation ${old?.generation}`;
    if (old === undefined || told === undefined || !signal(told, 'SIGUSR2')) {
      this.failures.push(`${what}: nobody to hand over`);
      return;
    }
    const failuresBefore = this.failures.length;
    const hasFailed = (): boolean => this.failures.length > failuresBefore;
    await until(() => this.inCharge !== old || hasFailed() || !isAlive(told), START_TIMEOUT, hurry);
    // It may have ended before we have read what its successor said.
    if (!hasFailed()) await until(() => this.inCharge !== old, LINE_TIMEOUT, hurry);
    if (hasFailed()) return;
    if (this.inCharge === old) {
      this.failures.push(`${what}: nobody took charge`);
      return;
    }
    if (!(await until(() => !isAlive(old.process), END_TIMEOUT, hurry))) this.failures.push(`${what}: it did not end`);
  }

  /** Ends it. What does not end in time, or must not be waited for, is killed: those, by pid and command. */
  async stop(hurry: AbortSignal): Promise<string[]> {
    const told = this.kind === 'supervisor' ? this.#started : (this.inCharge?.process ?? this.#started);
    if (told !== undefined) signal(told, 'SIGTERM');
    const known = (): ProcessId[] => this.generations.map(({ process }) => process).filter(isAlive);
    const isGone = (): boolean => known().length === 0 && (told === undefined || !isAlive(told));
    await until(isGone, END_TIMEOUT, hurry);
    const left = this.alive;
    const named = left.map(({ pid }) => `${pid} (${commandOf(pid)})`);
    for (const id of left) signal(id, 'SIGKILL');
    await until(() => left.every((id) => !isAlive(id)), KILL_TIMEOUT);
    // The last lines are there when nobody can write any more.
    await until(() => this.#child?.stderr?.closed !== false && this.#exit !== undefined, KILL_TIMEOUT);
    this.#child?.stderr?.destroy();
    return named;
  }

  /** Has a process write its heap. @returns the file; undefined where it did not in time, or must not be waited for */
  async snapshot(id: ProcessId, hurry: AbortSignal): Promise<string | undefined> {
    const before = new Set(readdirSync(this.snapshots));
    if (!signal(id, SNAPSHOT_SIGNAL)) return undefined;
    const written = (): string | undefined => {
      const name = readdirSync(this.snapshots).find((file) => !before.has(file));
      const file = name && join(this.snapshots, name);
      return file && !hasOpen(id.pid, file) ? file : undefined;
    };
    await until(() => written() !== undefined || !isAlive(id), SNAPSHOT_TIMEOUT, hurry);
    return written();
  }

  #follow(child: ChildProcess): void {
    child.once('error', ({ message }) => {
      this.#exit = `did not start: ${message}`;
    });
    child.once('exit', (code, by) => {
      this.#exit = by ?? `exit code ${code}`;
    });
    if (child.stderr) createInterface({ input: child.stderr }).on('line', (line) => this.#learn(line));
  }

  #learn(line: string): void {
    appendFileSync(this.#options.log, `${line}\n`);
    const entry = parse(line);
    if (entry === undefined) {
      if (SUPERVISOR_FAILURE.test(line)) this.failures.push(line);
      else if (this.output.push(line) > LINES_KEPT) this.output.shift();
      return;
    }
    const { event, pid, generation } = entry as { event: string; pid: number; generation: number };
    if (event === 'in-charge') {
      const process = identify(pid) ?? { pid, startTime: 'ended at once' };
      this.generations.push({ generation, process, inChargeAt: performance.now() });
    } else if (event === 'exit') {
      this.ended.set(generation, entry as unknown as Ended);
    } else if (entry.level === 'error') {
      this.failures.push(`generation ${generation}: ${String(entry.msg)}`);
    }
  }
}

/** What the servers say is lines of JSON; what Node or `handover run` says is not. */
function parse(line: string): Record<string, unknown> | undefined {
  try {
    return line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
