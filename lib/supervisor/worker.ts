// One worker process: started with the listeners, and with a link over which it says what it is. One that knows nothing of
// this package gets its sockets by LISTEN_FDS and is silent.
import { spawn } from 'node:child_process';
import { type Handler, type Params, Rpc } from '../channel/rpc.js';
import { HandoverError } from '../errors.js';
import { closeFd, FdSocket, socketpair } from '../fd/index.js';
import { settlesWithin } from '../handover/deadline.js';
import { Deferred } from '../handover/deferred.js';
import type { Exit } from '../handover/env.js';
import { CHANNEL_VARIABLE } from '../handover/start-self.js';
import { SUPERVISOR_VARIABLE } from '../handover/supervised.js';
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
}

/** `starting` until it says more, which a foreign one never does. */
export type WorkerState = 'starting' | 'in-charge' | 'superseded' | 'closing' | 'ended';

export class Worker {
  readonly pid: number;
  readonly startedAt: number = Date.now();
  readonly exited: Promise<Exit>;
  readonly link: Rpc;
  /** Resolves when it is in charge of its slot. */
  readonly inCharge: Deferred<void> = new Deferred();
  state: WorkerState = 'starting';
  generation = 1;
  /** Whether it has said that it knows what a handover is. */
  isAware = false;

  private constructor(pid: number, exited: Promise<Exit>, link: FdSocket, start: WorkerStart) {
    this.pid = pid;
    this.exited = exited;
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
    const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    try {
      await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    } catch (cause) {
      closeFd(ours);
      const message = `cannot start ${program.file} in ${program.cwd}: ${(cause as Error).message}`;
      throw new HandoverError('ERR_HANDOVER_SPAWN_FAILED', message, { cause, phase: 'PREPARE' });
    } finally {
      closeFd(theirs);
    }
    return new Worker(child.pid as number, exited, new FdSocket(ours), start);
  }

  get hasEnded(): boolean {
    return this.state === 'ended';
  }

  /** Signals it alone: what it has started is its own business until it has gone. */
  signal(signal: NodeJS.Signals): void {
    if (!this.hasEnded) tryKill(this.pid, signal);
  }

  /** SIGTERM, which a server takes as the word to drain; after `timeout` ms SIGKILL to it and all it started. */
  async stop(timeout: number): Promise<void> {
    this.signal('SIGTERM');
    await this.endsWithin(timeout);
  }

  /** Waits for its end; then, or after `timeout` ms, what is left of its process group is killed. */
  async endsWithin(timeout: number): Promise<void> {
    await settlesWithin(this.exited, timeout);
    tryKill(-this.pid, 'SIGKILL');
    await this.exited;
  }

  #onTold(name: string, { generation }: Params): void {
    if (name === 'hello') this.isAware = true;
    if (typeof generation === 'number') this.generation = generation;
    if (name === 'in-charge' || name === 'superseded' || name === 'closing') this.state = name;
    if (name === 'in-charge') this.inCharge.resolve();
  }
}

function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has gone meanwhile.
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

function environment({ program, listeners, channel, index }: WorkerStart): NodeJS.ProcessEnv {
  const count = listeners.length;
  return {
    ...program.env,
    PWD: program.cwd,
    HANDOVER_WORKER: String(index),
    [SUPERVISOR_VARIABLE]: String(FIRST_FD + count),
    ...(channel !== undefined && { [CHANNEL_VARIABLE]: String(FIRST_FD + count + 1) }),
    ...(count > 0 && {
      LISTEN_FDS: String(count),
      LISTEN_FDNAMES: listeners.map(({ name }) => name.replaceAll(':', '_')).join(':'),
    }),
  };
}
