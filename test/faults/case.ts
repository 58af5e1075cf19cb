// Runs one cell of the matrix: a real server under load, a handover, one fault; then looks at who serves, who has ended
// and how, and what is left behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { identify, type ProcessId, processesMarked, signal } from '../helpers/processes.js';
import { until } from '../helpers/until.js';
import { Client, type Failure } from './client.js';
import { differences, type Holding, holdingOf, settledHolding, stateOf } from './holdings.js';
import { judge } from './judge.js';
import { Log, type Said } from './log.js';
import { type Cell, HANGING, label, leaves } from './points.js';
import { load, openFleet } from './traffic.js';
import { World } from './world.js';

const SERVER = fileURLToPath(new URL('fixtures/server.mjs', import.meta.url));
const MARK = 'HANDOVER_FAULT_MARK';
/** Longer than everything the library gives a process to end: readyTimeout, SIGTERM's grace, drainTimeout. */
const SETTLE_TIMEOUT = 30_000;
/** Keeps the predecessor draining until a hung successor has been noticed (5 x probationStall) or a report was sent. */
const LONG_REQUEST = { hanging: 4_500, other: 1_600 };
/** Milliseconds a process that nobody follows waits for connections that nobody uses. */
const LEAVING = 4_000;
/** A point of the handover comes within a second or two, on a busy machine in ten, or not at all. */
const FAULT_TIMEOUT = 30_000;

export interface CaseResult {
  readonly cell: Cell;
  readonly requests: number;
  readonly lost: readonly Failure[];
  readonly owned: readonly Failure[];
  readonly refused: readonly Failure[];
  readonly twice: readonly string[];
  readonly leaked: readonly string[];
  /** Everything else that is not as it should be. */
  readonly wrong: readonly string[];
  readonly durationMs: number;
  /** For the report of a case that failed. */
  readonly story: string;
}

export interface CaseOptions {
  /** What a successor holds after a handover without a fault; without it, that is not compared. */
  readonly reference?: Holding | undefined;
  /** Milliseconds after the first phase at which the harness itself signals, instead of the cell's point. */
  readonly delay?: number | undefined;
  /** Milliseconds the long request takes. */
  readonly drain?: number | undefined;
}

export class Case {
  readonly cell: Cell;
  readonly log = new Log();
  readonly directory: string = mkdtempSync(join(tmpdir(), 'handover-faults-'));
  readonly client = new Client(randomUUID().slice(0, 8));
  readonly #mark = randomUUID();
  readonly #options: CaseOptions;
  readonly #child: ChildProcess;
  readonly #wrong: string[] = [];
  readonly #leaked: string[] = [];
  readonly #exit: Promise<{ code: number | null; signal: string | null }>;
  #stderr = '';
  #isSettled = false;
  #release: string;

  constructor(cell: Cell, options: CaseOptions) {
    this.cell = cell;
    this.#options = options;
    this.#release = join(this.directory, 'release');
    const { point, kind } = cell;
    const name = options.delay === undefined ? point.name.split('@')[0] : 'signal';
    const { role, provoke } = point;
    const fault = { role, point: name, kind, provoke, release: this.#release, once: join(this.directory, 'fault') };
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(VITEST|npm_|NODE_)/.test(key)));
    this.#child = spawn(process.execPath, [SERVER], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...env,
        FAULT: JSON.stringify(fault),
        DIR: this.directory,
        [MARK]: this.#mark,
        ...(leaves(cell) && { OPTIONS: JSON.stringify({ drain: { timeout: LEAVING } }) }),
      },
    });
    this.#exit = new Promise((resolve) => {
      this.#child.once('exit', (code, name) => {
        this.log.add({ pid: this.first, at: now(), event: 'ended', code, signal: name });
        resolve({ code, signal: name });
      });
    });
    this.log.isGone = (pid) => identify(pid) === undefined;
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => this.log.add(JSON.parse(line) as Said));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
  }

  /** The process the case began with. */
  get first(): number {
    return this.#child.pid ?? 0;
  }

  async run(): Promise<CaseResult> {
    const start = now();
    let survivor: number | undefined;
    try {
      survivor = await this.#play();
      await this.#epilogue(survivor);
    } catch (error) {
      this.#wrong.push(error instanceof Error ? error.message : String(error));
    } finally {
      await this.#cleanUp();
    }
    return this.#result(survivor, start);
  }

  /** The handover with its fault, until all is quiet. @returns the process that serves then */
  async #play(): Promise<number | undefined> {
    const { cell, first, client, log } = this;
    const { port } = await log.first<{ port: number }>(first, 'ready');
    const before = await settledHolding(first);
    const tcp = { kind: 'tcp', port } as const;
    const unix = { kind: 'unix', path: join(this.directory, 'web.sock') } as const;
    const { isMoving = false } = this.cell.point;
    const isEnding = leaves(this.cell);
    if (isMoving) await openFleet(client, tcp, isEnding);
    // All that connect anew would be refused in the end.
    if (!isEnding) load(client, tcp, unix);
    if (!isEnding) await client.answered(first, 12);
    const { hanging, other } = LONG_REQUEST;
    const { kind, point } = this.cell;
    const isHangingInCharge = HANGING.includes(kind) && point.role === 'successor' && point.phases.includes('DRAIN');
    const drain = this.#options.drain ?? point.longest ?? (isHangingInCharge ? hanging : other);
    if (drain > 0) void client.once(tcp, drain);
    const world = new World({ cell, log, client, first, release: this.#release, delay: this.#options.delay });
    world.watch();
    process.kill(first, 'SIGUSR2');
    const survivor = await this.#settle().finally(() => {
      world.isOver = true;
    });
    if (survivor !== undefined && isMoving) await this.#surveyed(client.askFleet());
    if (survivor !== undefined) {
      if (isEnding) load(client, tcp, unix);
      const answers = client.answered(survivor, 12);
      await Promise.race([answers, this.#timeout(`process ${survivor} is left, and answers nobody`, FAULT_TIMEOUT)]);
    }
    await client.stop();
    if (survivor === first) await this.#compareHoldings(first, before);
    return survivor;
  }

  /** Each connection once more; what is left unanswered is given up by `client.stop()`. */
  async #surveyed(survey: Promise<void>): Promise<void> {
    await Promise.race([survey, pause(FAULT_TIMEOUT)]);
  }

  /** Until one process is left and knows that it serves, or none. */
  async #settle(): Promise<number | undefined> {
    const { log, first } = this;
    const { kind, point } = this.cell;
    // A random moment may be too late.
    const isSure = kind !== 'none' && point.name !== 'random';
    const fault = log.when(({ event }) => event === (isSure ? 'fault' : 'phase'));
    await Promise.race([fault, this.#timeout('the point of the fault was not reached', FAULT_TIMEOUT)]);
    const look = (): { survivor: number | undefined } | undefined => {
      const living = this.living;
      if (living.length === 0) return { survivor: undefined };
      const [id, ...others] = living;
      if (others.length > 0 || id === undefined) return undefined;
      // It ends as well, a little later.
      if (leaves(this.cell) && id.pid !== first) return undefined;
      const hasOutcome = log.has(first, 'rejected') || log.has(first, 'failed');
      const isSettled = id.pid === first ? hasOutcome : log.has(id.pid, 'in-charge');
      return isSettled ? { survivor: id.pid } : undefined;
    };
    try {
      const { survivor } = await until(look, { what: 'one process to be left', timeout: SETTLE_TIMEOUT, interval: 10 });
      this.#isSettled = true;
      return survivor;
    } catch {
      const who = this.living.map(({ pid }) => `${pid === first ? 'predecessor' : 'successor'} ${stateOf(pid)}`);
      throw new Error(`nothing is settled after ${SETTLE_TIMEOUT} ms: ${who.join(', ')} live`);
    }
  }

  /** The processes of this case that run. */
  get living(): ProcessId[] {
    return processesMarked(MARK, this.#mark);
  }

  /** The one left is a whole server: it has what it had, and can hand over itself. */
  async #epilogue(survivor: number | undefined): Promise<void> {
    const { log, first } = this;
    const { code, signal: name } = survivor === first ? { code: null, signal: null } : await this.#exit;
    this.#wrong.push(...judge(this.cell, { log, first, survivor, firstExit: { code, signal: name } }));
    if (survivor === undefined) return;
    await this.#expectInCharge(survivor);
    // A predecessor that has recalled its listeners said 'resolved' in the handover of the cell already.
    const resolved = log.firstSince(now(), survivor, 'resolved');
    process.kill(survivor, 'SIGUSR2');
    const { generation: before } = await this.#state();
    await this.#during(resolved, survivor, 'the next handover');
    const next = await until(() => this.living.length === 1 && this.living[0]?.pid, { what: 'the next handover' });
    if (next === survivor) throw new Error('the next handover: the old process lives, the new one does not');
    const { generation } = await this.#state();
    if (generation !== before + 1) this.#wrong.push(`the next handover: generation ${generation} after ${before}`);
    await this.#expectInCharge(next);
    if (this.#options.reference) await this.#compareHoldings(next, this.#options.reference);
    else this.reference = await settledHolding(next);
    process.kill(next, 'SIGTERM');
    const { code: last } = await this.#during(log.first<{ code: number }>(next, 'exit'), next, 'SIGTERM');
    if (last !== 0) this.#wrong.push(`the last process exited with ${last} after SIGTERM`);
    await until(() => this.living.length === 0, { what: 'the last process to end' });
    const files = readdirSync(this.directory).filter(
      (name) => !['release', 'fault', 'fault-provoked', 'takeover.sock.lock'].includes(name),
    );
    this.#leaked.push(...files.map((name) => `file ${name}`));
  }

  /** What a successor holds that nothing has happened to. */
  reference: Holding = new Map();

  async #expectInCharge(pid: number): Promise<void> {
    for (let i = 0; i < 5; i++) {
      const state = await this.#state();
      if (state.pid === pid && state.isInCharge && !state.isClosing) continue;
      this.#wrong.push(`process ${pid} should be in charge and serving, the answer was ${JSON.stringify(state)}`);
      return;
    }
    const files = readdirSync(this.directory);
    for (const name of ['web.sock', 'takeover.sock', 'pid'])
      if (!files.includes(name)) this.#wrong.push(`${name} is gone`);
    if (files.includes('pid')) {
      const written = readFileSync(join(this.directory, 'pid'), 'utf8').trim();
      if (written !== String(pid)) this.#wrong.push(`the pid file says ${written} instead of ${pid}`);
    }
    if (this.log.dutiesRunning.join() !== String(pid)) {
      this.#wrong.push(`the duty runs in ${this.log.dutiesRunning.join(' and ') || 'nobody'} instead of ${pid}`);
    }
  }

  async #state(): Promise<{ pid: number; generation: number; isInCharge: boolean; isClosing: boolean }> {
    const { port } = this.log.fields<{ port: number }>(this.first, 'ready');
    const text = await get(port, '/state');
    return JSON.parse(text.split('\r\n\r\n')[1] ?? '');
  }

  async #compareHoldings(pid: number, before: Holding): Promise<void> {
    const look = (): string[] => differences(before, holdingOf(pid));
    const wait = { what: 'descriptors to be closed', timeout: 2_000, interval: 10 };
    await until(() => look().length === 0, wait).catch(() => this.#leaked.push(...look()));
  }

  async #during<T>(step: Promise<T>, pid: number, what: string): Promise<T> {
    const ended = until(() => !identify(pid), { what, timeout: SETTLE_TIMEOUT, interval: 10 }).then(() =>
      Promise.race([step, this.#timeout(`${what}: the process ended without a word`, 1_000)]),
    );
    return Promise.race([step, ended]);
  }

  #timeout(message: string, after: number = SETTLE_TIMEOUT): Promise<never> {
    return new Promise((_, reject) => setTimeout(() => reject(new Error(message)), after).unref());
  }

  async #cleanUp(): Promise<void> {
    await this.client.stop(100);
    for (const id of this.living) {
      this.#leaked.push(`process ${id.pid}`);
      signal(id, 'SIGKILL');
    }
    await until(() => this.living.length === 0, { what: 'killed processes to end', interval: 5 });
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #result(survivor: number | undefined, start: number): CaseResult {
    const { log, client, cell } = this;
    const owned: Failure[] = [];
    const lost: Failure[] = [];
    const refused: Failure[] = [];
    const twice = log.begunTwice();
    // A predecessor that dies before MANIFEST takes its listeners along, and whatever waited there.
    const isOver = survivor === undefined && this.#isSettled && this.#wrong.length === 0;
    const hasDiedAlone = isOver && !log.has(log.successor ?? 0, 'in-charge');
    for (const failure of client.failures) {
      if (failure.kind === 'twice') twice.push(`${failure.id}: ${failure.detail}`);
      else if (hasDiedAlone || log.ownedByTheDead(failure)) owned.push(failure);
      else if (failure.kind === 'refused') refused.push(failure);
      else lost.push(failure);
    }
    this.#wrong.push(...log.overlaps);
    const durationMs = Math.round(now() - start);
    const story = `${label(cell)}\n${log.story(this.first)}\n${this.#stderr.replace(/^/gm, '  | ')}`;
    const counts = { requests: client.requests, lost, owned, refused, twice, leaked: this.#leaked, wrong: this.#wrong };
    return { cell, ...counts, durationMs, story };
  }
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function get(port: number, path: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer to ${path} in 10 s`)));
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}
