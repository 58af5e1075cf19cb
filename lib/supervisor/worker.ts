// One worker process: started with the listeners, and with a link over which it says what it is. One that knows nothing of
// this package gets its sockets by LISTEN_FDS and is silent.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Handler, type Params, Rpc } from '../channel/rpc.js';
import { HandoverError } from '../errors.js';
import { closeFd, FdSocket, socketpair } from '../fd/index.js';
import { settlesWithin } from '../handover/deadline.js';
import { Deferred } from '../handover/deferred.js';
import type { Exit } from '../handover/env.js';
import { CHANNEL_VARIABLE } from '../handover/start-self.js';
import { SUPERVISOR_VARIABLE } from '../handover/supervised.js';
import { forgetActivation } from '../ledger/activation.js';
import type { Entry } from '../ledger/ledger.js';
import type { Program } from './program.js';

/** What a worker is started with. */
export interface WorkerStart {
  readonly program: Program;
  /** Borrowed; they become its descriptors from 3 on (sd_listen_fds(3)). */
  readonly listeners: readonly Entry[];
  /** Borrowed: its end of the channel to the worker it replaces. */
  readonly channel?: number;
  /** The number of its slot. */
  readonly index: number;
  /** What it may ask of the supervisor. */
  readonly calls: (worker: Worker) => Readonly<Record<string, Handler>>;
  /** It has said what it is now, or what it listens on. */
  readonly onChange: (worker: Worker) => void;
}

/** A listener as a worker names it. */
export type ListenerUse = Pick<Entry, 'name' | 'kind' | 'address'>;

/** Processes that Node waits for, from the fork on. */
const unreaped = new Set<number>();

/** Whether Node itself waits for this child. */
export function isAwaited(pid: number): boolean {
  return unreaped.has(pid);
}

/** `starting` until it says more, which a foreign one never does. */
export type WorkerState = 'starting' | 'in-charge' | 'superseded' | 'closing' | 'ended';

export class Worker {
  /** The process that was started: the server itself, or what it is wrapped in (a shell, npm). */
  readonly childPid: number;
  readonly index: number;
  readonly startedAt: number = Date.now();
  readonly exited: Promise<Exit>;
  readonly link: Rpc;
  /** Resolves when it has said that it knows what a handover is. */
  readonly greeted: Deferred<void> = new Deferred();
  /** Resolves when it is in charge of its slot; anew once it has been superseded. */
  inCharge: Deferred<void> = new Deferred();
  state: WorkerState = 'starting';
  /** It had begun to end by itself: nobody takes its connections back. */
  hasLeft = false;
  generation = 1;
  isAware = false;
  readonly #onChange: (worker: Worker) => void;
  #serverPid: number | undefined;
  /** Lent, and not reported by the worker yet. */
  #lent: readonly ListenerUse[] = [];
  #reported: readonly ListenerUse[] = [];

  private constructor(childPid: number, exited: Promise<Exit>, link: FdSocket, start: WorkerStart) {
    this.childPid = childPid;
    this.index = start.index;
    this.exited = exited;
    this.#onChange = start.onChange;
    this.link = new Rpc(link, { calls: start.calls(this), onEvent: (name, params) => this.#onTold(name, params) });
    this.link.unref();
    void exited.then(() => {
      this.state = 'ended';
      this.link.close();
    });
  }

  /** @throws ERR_HANDOVER_SPAWN_FAILED */
  static async start(start: WorkerStart): Promise<Worker> {
    const [ours, theirs] = socketpair();
    const { program, listeners, channel } = start;
    const passed = [...listeners.map(({ fd }) => fd), theirs, ...(channel === undefined ? [] : [channel])];
    const { file, args } = withListenPid(program, listeners.length > 0);
    const child = spawn(file, args, {
      cwd: program.cwd,
      env: environment(start),
      // A group of its own: a terminal's Ctrl-C is the supervisor's to pass on.
      detached: true,
      stdio: ['inherit', 'inherit', 'inherit', ...passed],
    });
    const { pid } = child;
    if (pid !== undefined) unreaped.add(pid);
    const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    void exited.then(() => pid !== undefined && unreaped.delete(pid));
    try {
      await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    } catch (cause) {
      closeFd(ours);
      const message = `cannot start ${program.file} in ${program.cwd}: ${(cause as Error).message}`;
      throw new HandoverError('ERR_HANDOVER_SPAWN_FAILED', message, { cause, phase: 'PREPARE' });
    } finally {
      closeFd(theirs);
    }
    return new Worker(pid as number, exited, new FdSocket(ours), start);
  }

  /** The server's. */
  get pid(): number {
    return this.#serverPid ?? this.childPid;
  }

  get hasEnded(): boolean {
    return this.state === 'ended';
  }

  /** What it listens on, as far as it has said or asked for it. */
  get listeners(): readonly ListenerUse[] {
    return [...this.#reported, ...this.#lent];
  }

  /** It was given a listener. */
  lend(listener: ListenerUse): void {
    this.#lent = [...this.#lent, listener];
  }

  /** Signals it alone: what it has started is its own business until it has gone. */
  signal(signal: NodeJS.Signals): void {
    if (!this.hasEnded) tryKill(this.pid, signal);
  }

  /** Ends it and all it started, at once. */
  kill(): void {
    tryKill(-this.childPid, 'SIGKILL');
  }

  /** SIGTERM, which a server takes as the word to drain; then as {@link endsWithin}. */
  async stop(timeout: number): Promise<boolean> {
    this.signal('SIGTERM');
    return this.endsWithin(timeout);
  }

  /** Waits for its end; then, or after `timeout` ms, what is left of its process group is killed. False: it had to be. */
  async endsWithin(timeout: number): Promise<boolean> {
    const hasEnded = await settlesWithin(this.exited, timeout);
    this.kill();
    await this.exited;
    return hasEnded;
  }

  #onTold(name: string, { pid, generation, listeners }: Params): void {
    if (this.hasEnded) return;
    if (name === 'hello') this.#greet(Number(pid));
    if (typeof generation === 'number') this.generation = generation;
    if (Array.isArray(listeners)) this.#onListeners(listeners as unknown as readonly ListenerUse[]);
    if (name === 'in-charge' || name === 'superseded' || name === 'closing') this.state = name;
    if (name === 'in-charge') this.inCharge.resolve();
    if (name === 'superseded') this.inCharge = new Deferred();
    if (name === 'closing') this.hasLeft = true;
    this.#onChange(this);
  }

  #greet(pid: number): void {
    this.isAware = true;
    // Behind a wrapper: signals are for the server. A number of another pid namespace says nothing here.
    if (pid !== this.childPid && groupOf(pid) === this.childPid) this.#serverPid = pid;
    this.greeted.resolve();
  }

  #onListeners(listeners: readonly ListenerUse[]): void {
    this.#reported = listeners;
    this.#lent = this.#lent.filter(({ name }) => !listeners.some((reported) => reported.name === name));
  }
}

function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has gone meanwhile.
  }
}

/** The process group of a process (proc_pid_stat(5)). */
function groupOf(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[2]);
  } catch {
    return undefined;
  }
}

/** LISTEN_PID is known only after the fork: a shell sets it and becomes the program. */
function withListenPid(
  { file, args }: Program,
  hasListeners: boolean,
): { readonly file: string; readonly args: string[] } {
  if (!hasListeners) return { file, args: [...args] };
  return { file: '/bin/sh', args: ['-c', 'LISTEN_PID=$$ exec "$0" "$@"', file, ...args] };
}

const FIRST_FD = 3;

/** What the supervisor was told by whoever started it: none of a worker's business. */
const OWN_VARIABLES = ['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC', CHANNEL_VARIABLE] as const;

function environment({ program, listeners, channel, index }: WorkerStart): NodeJS.ProcessEnv {
  const count = listeners.length;
  const inherited = { ...program.env };
  forgetActivation(inherited);
  for (const name of OWN_VARIABLES) delete inherited[name];
  return {
    ...inherited,
    PWD: program.cwd,
    HANDOVER_WORKER: String(index),
    [SUPERVISOR_VARIABLE]: `${FIRST_FD + count}:${process.pid}`,
    ...(channel !== undefined && { [CHANNEL_VARIABLE]: String(FIRST_FD + count + 1) }),
    ...(count > 0 && {
      LISTEN_FDS: String(count),
      LISTEN_FDNAMES: listeners.map(({ name }) => name.replaceAll(':', '_')).join(':'),
    }),
  };
}
