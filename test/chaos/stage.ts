// The processes of one schedule: starts them, hears what they say, and deals the blows, noting who owned what.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dial } from '../../lib/fd/dial.js';
import { closeFd, FdSocket, socketpair } from '../../lib/fd/index.js';
import { type Params, Rpc } from '../../lib/protocol/rpc.js';
import { Log, type Said } from '../faults/log.js';
import { identify, type ProcessId, processesMarked, signal } from '../helpers/processes.js';
import { until } from '../helpers/until.js';
import { Cast, type Member } from './cast.js';
import { now } from './crowd.js';
import { frozen, type Holdings, holdingsOf, isStopped } from './freeze.js';
import type { Blow, Outage } from './judge.js';
import type { Mode, ReleaseKind, Role } from './schedule.js';

const SERVER = fileURLToPath(new URL('fixtures/server.mjs', import.meta.url));
const COMMAND = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const MARK = 'HANDOVER_CHAOS_MARK';
/** Below the ports that the kernel gives to those who ask for any. */
const PORTS = { from: 20_000, to: 32_000 };
const KEPT_STDERR = 16_000;
const CALL_TIMEOUT = 5_000;

interface Child {
  readonly process: ChildProcess;
  readonly exit: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

export class Stage {
  readonly log = new Log();
  readonly cast = new Cast();
  readonly blows: (Blow & { readonly ports: Set<number> })[] = [];
  /** By the ports of a blow: those that an older process had, too. */
  readonly #offered = new Map<ReadonlySet<number>, ReadonlyMap<number, string>>();
  readonly outages: Outage[] = [];
  readonly directory: string = mkdtempSync(join(tmpdir(), 'handover-chaos-'));
  readonly mode: Mode;
  readonly workers: number;
  /** One that is added may fail to start. */
  leastSlots: number;
  port = 0;
  version = 0;
  stderr = '';
  readonly #mark = randomUUID();
  readonly #children: Child[] = [];
  /** All processes write into one stream: the order of the lines is the order of things. */
  readonly #mouth: number;
  readonly #ear: Socket;
  readonly #stops = new Set<Promise<void>>();
  #supervisor: ProcessId | undefined;

  constructor(mode: Mode, workers: number) {
    this.mode = mode;
    this.workers = workers;
    this.leastSlots = workers;
    this.log.isGone = (pid) => !this.cast.members.get(pid)?.isAlive;
    const [ear, mouth] = socketpair();
    this.#mouth = mouth;
    this.#ear = new Socket({ fd: ear, readable: true, writable: false });
    createInterface({ input: this.#ear }).on('line', (line) => this.#hear(line));
    this.release('good');
  }

  get isSupervised(): boolean {
    return this.mode === 'run' || this.mode === 'roll';
  }

  get supervisor(): ProcessId | undefined {
    return this.#supervisor && identify(this.#supervisor.pid) ? this.#supervisor : undefined;
  }

  /** What was started last by the harness itself. */
  get newest(): Child | undefined {
    return this.#children.at(-1);
  }

  /** Writes what the next process reads when it starts. */
  release(kind: ReleaseKind): void {
    this.version += 1;
    writeFileSync(join(this.directory, 'release.json'), JSON.stringify({ version: this.version, kind }));
  }

  /** A first process, or one that takes over. */
  async start(): Promise<void> {
    if (this.port === 0) this.port = await freePort();
    const path = (name: string): string => join(this.directory, name);
    const run = ['run', '--workers', String(this.workers), '--control', path('control.sock'), '--settle', '300'];
    const limits = ['--stop-timeout', '25000', '--progress-deadline', '12000', '--', process.execPath, SERVER];
    const args = this.isSupervised ? [COMMAND, ...run, ...limits] : [SERVER];
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(VITEST|npm_|NODE_)/.test(key)));
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', this.#mouth, 'pipe'],
      env: { ...env, DIR: this.directory, PORT: String(this.port), [MARK]: this.#mark },
    });
    const exit = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
      child.once('exit', (code, name) => resolve({ code, signal: name })),
    );
    this.#children.push({ process: child, exit });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-KEPT_STDERR);
    });
    if (this.isSupervised) this.#supervisor = identify(child.pid ?? 0);
  }

  #hear(line: string): void {
    if (!line.startsWith('{')) return;
    const said = JSON.parse(line) as Said;
    this.cast.note(said);
    this.log.add(said);
    const { event, at, pid } = said;
    if (event === 'ready' || event === 'in-charge') this.#endOutage(at);
    const member = this.cast.members.get(pid);
    if (event === 'exit' && member?.mayHaveDied && this.#heirs().length === 0) this.#beginOutage(at);
  }

  /** All that runs, also what has said nothing yet. */
  get living(): ProcessId[] {
    return processesMarked(MARK, this.#mark);
  }

  find(role: Role, nth: number): Member | undefined {
    if (role === 'supervisor') return undefined;
    const those = this.cast.having(role);
    return those[nth % Math.max(1, those.length)];
  }

  /** @returns whom it hit, for the trace */
  async hit(what: 'kill' | 'term' | 'stop', role: Role, nth: number, ms = 0): Promise<string> {
    if (role === 'supervisor') return this.#hitSupervisor(what, ms);
    const member = this.find(role, nth);
    if (!member?.id) return `nobody is ${role}`;
    if (what === 'kill') this.#kill(member, member.id);
    else if (what === 'term') this.#tell(member, member.id);
    else await this.#stop(member, member.id, ms);
    return String(member.pid);
  }

  #kill(member: Member, id: ProcessId): void {
    frozen(this.#ids, () => {
      const holdings = this.#holdings();
      signal(id, 'SIGKILL');
      const at = now();
      member.killedAt = at;
      this.#note('killed', member, at, holdings);
    });
  }

  /** Told to the one in charge it is for all: whom it gives to, or has taken from, ends with it. */
  #tell(member: Member, id: ProcessId): void {
    const isForAll = member.part === 'in-charge' && !this.isSupervised;
    frozen(this.#ids, () => {
      const holdings = this.#holdings();
      signal(id, 'SIGTERM');
      this.#told(isForAll ? this.cast.living : [member], holdings);
    });
  }

  #told(members: readonly Member[], holdings: Holdings): void {
    const at = now();
    for (const member of members) member.toldToEndAt = at;
    for (const member of members) this.#note('told to end', member, at, holdings);
  }

  async #stop(member: Member, id: ProcessId, ms: number): Promise<void> {
    if (!signal(id, 'SIGSTOP')) return;
    await until(() => isStopped(member.pid) || !identify(member.pid), { what: `${member.pid} to stop`, interval: 1 });
    frozen(this.#ids, () => {
      member.stoppedAt = now();
      this.#note('stopped', member, member.stoppedAt, this.#holdings());
    });
    this.#continueAfter(id, ms);
  }

  #continueAfter(id: ProcessId, ms: number): void {
    const going: Promise<void> = pause(ms).then(() => {
      signal(id, 'SIGCONT');
      this.#stops.delete(going);
    });
    this.#stops.add(going);
  }

  async #hitSupervisor(what: 'kill' | 'term' | 'stop', ms: number): Promise<string> {
    const id = this.supervisor;
    if (!id) return 'there is no supervisor';
    if (what === 'stop') {
      signal(id, 'SIGSTOP');
      this.#continueAfter(id, ms);
      return String(id.pid);
    }
    // Its workers end with it.
    frozen(this.#ids, () => {
      const holdings = this.#holdings();
      signal(id, what === 'kill' ? 'SIGKILL' : 'SIGTERM');
      this.#told(this.cast.living, holdings);
    });
    this.#beginOutage(now());
    return String(id.pid);
  }

  /** Everybody whom the schedule stopped goes on. */
  async continued(): Promise<void> {
    while (this.#stops.size > 0) await Promise.all(this.#stops);
  }

  get #ids(): ProcessId[] {
    return this.cast.living.flatMap(({ id }) => id ?? []);
  }

  #holdings(): Holdings {
    const pids = this.cast.living.map(({ pid }) => pid);
    return holdingsOf(pids, this.supervisor ? [this.supervisor.pid] : [], this.port);
  }

  /**
   * What a process had said HELD for to an older one, which closes its copy when it reads that, is the process' own. Asked in the
   * end: the line that says so may have been on its way when the blow fell.
   */
  settle(): void {
    for (const { pid, ports } of this.blows) {
      for (const [port, inode] of this.#offered.get(ports) ?? []) if (this.log.hasHeld(inode, pid)) ports.add(port);
    }
  }

  #note(what: Blow['what'], member: Member, at: number, holdings: Holdings): void {
    const { pid } = member;
    const ports = new Set<number>();
    const offered = new Map<number, string>();
    for (const [port, inode] of holdings.ports.get(pid) ?? []) {
      const others = this.cast.living.filter((other) => other.pid !== pid && holdings.ports.get(other.pid)?.has(port));
      if (others.length === 0) ports.add(port);
      else if (others.every(({ startedAt }) => startedAt < member.startedAt)) offered.set(port, inode);
    }
    const isOver = what !== 'stopped' && this.#heirs(holdings.listening).length === 0 && !this.supervisor;
    if (isOver) {
      for (const port of holdings.queued) ports.add(port);
      this.#beginOutage(at);
    }
    this.blows.push({ what, pid, at, ports });
    this.#offered.set(ports, offered);
  }

  /** Those who could serve: alive, not told to end, and with the listener. */
  #heirs(listening?: ReadonlySet<number>): Member[] {
    return this.cast.living.filter(
      ({ pid, toldToEndAt }) =>
        toldToEndAt === undefined && (listening?.has(pid) ?? true) && !this.log.hasFrame(pid, 'sent', 'RETIRE'),
    );
  }

  #beginOutage(from: number): void {
    if (this.supervisor && this.cast.living.some(({ toldToEndAt }) => toldToEndAt === undefined)) return;
    if (!this.isInOutage) this.outages.push({ from, to: undefined });
  }

  #endOutage(at: number): void {
    const outage = this.outages.at(-1);
    if (outage) outage.to ??= at;
  }

  get isInOutage(): boolean {
    const outage = this.outages.at(-1);
    return outage !== undefined && outage.to === undefined;
  }

  /** Asks the supervisor. @throws what it answers, or an Error when it says nothing */
  async call(method: string): Promise<Params> {
    const fd = dial(join(this.directory, 'control.sock'));
    if (fd < 0) throw new Error(`no control socket: errno ${-fd}`);
    const rpc = new Rpc(new FdSocket(fd), { calls: {} });
    try {
      const silence = pause(method === 'status' ? CALL_TIMEOUT : CALL_TIMEOUT * 12, undefined, { ref: false });
      const answer = await Promise.race([rpc.call(method, {}), silence]);
      if (answer === undefined) throw new Error(`no answer to ${method}`);
      return answer.params;
    } finally {
      rpc.close();
    }
  }

  /** Ends what is left, and returns it. */
  async end(): Promise<string[]> {
    await this.continued();
    const left = this.living;
    for (const id of left) signal(id, 'SIGKILL');
    await until(() => this.living.length === 0, { what: 'killed processes to end', interval: 20 });
    for (const { process: child } of this.#children) child.stderr?.destroy();
    closeFd(this.#mouth);
    this.#ear.destroy();
    rmSync(this.directory, { recursive: true, force: true });
    return left.map(({ pid }) => `process ${pid}`);
  }
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
