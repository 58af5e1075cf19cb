// Two processes of a handover inside this one: two executors with everything that is theirs, joined by real sockets with
// real descriptors, on one clock that the test moves. What is played is what an Env gives: the start of a process, its
// signals, its death, and that it stops.
import { openSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { eventChannel, type HandoverEventName, type HandoverEvents } from '../../lib/events.js';
import { closeFd, closeFds, dupFd, FdSocket, recvFds, sendFds, socketpair } from '../../lib/fd/index.js';
import type { Env, Exit, StartedProcess } from '../../lib/platform/env.js';
import { noteStart, type Start } from '../../lib/platform/start.js';
import { CHANNEL_VARIABLE } from '../../lib/platform/start-self.js';
import { AppDuties } from '../../lib/process/app-duties.js';
import { Executor } from '../../lib/process/executor.js';
import { checkHandoverOptions, type HandoverOptions } from '../../lib/process/options.js';
import { Resources } from '../../lib/process/resources.js';
import type { Clock } from '../../lib/protocol/clock.js';
import { Deferred } from '../../lib/protocol/deferred.js';
import type { FrameName, Role } from '../../lib/protocol/frames.js';
import { VirtualClock } from './virtual-clock.js';

/** No process of this machine has such a number. */
const FIRST_PID = 1 << 24;

/** Of which no test takes long, and which asks nothing of the machine. */
const OPTIONS: HandoverOptions = {
  allowOrphan: true,
  preflight: { memory: false },
  systemd: false,
  probation: { duration: 0 },
};

/** What an app does; the default listens as "web", and is ready at once. */
export type App = (side: Side) => Promise<void>;

const serveWeb: App = async (side) => {
  await side.listen('web');
  await side.ready();
};

/** All of it. Ended with the test. */
export class World {
  readonly clock: VirtualClock = new VirtualClock();
  readonly sides: Side[] = [];
  readonly #options: HandoverOptions;
  /** Of the processes that are started from here on. */
  app: App = serveWeb;
  /** Called with each of them before it does anything. */
  onStart: (side: Side) => void = () => {};
  /** Options of theirs. */
  options: HandoverOptions = {};

  private constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /** With one process, which is in charge. */
  static async begin(options: HandoverOptions = {}, app: App = serveWeb): Promise<{ world: World; a: Side }> {
    const world = new World(options);
    onTestFinished(() => world.#end());
    world.options = options;
    const a = world.add({}, undefined);
    await a.run(app);
    return { world, a };
  }

  add(variables: NodeJS.ProcessEnv, wire: Wire | undefined): Side {
    const options = checkHandoverOptions({ ...OPTIONS, ...this.#options, ...this.options });
    const side = new Side(this, FIRST_PID + this.sides.length, variables, wire, options);
    this.sides.push(side);
    return side;
  }

  /** The successor that was started last. */
  get b(): Side {
    const side = this.sides.at(-1);
    if (!side || this.sides.length < 2) throw new Error('no successor was started');
    return side;
  }

  /** What a promise settles with, with the time that takes. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = promise.finally(() => {
      isSettled = true;
    });
    settled.catch(() => {});
    await this.clock.until(() => isSettled, 'a promise');
    return settled;
  }

  /** Calls back when a frame is about to be sent, or was read, by that side of a handover: the first time. */
  onFrame(role: Role, direction: 'sent' | 'received', name: FrameName, callback: () => void): void {
    let isDue = true;
    this.on('frame', (frame) => {
      if (!isDue || frame.role !== role || frame.direction !== direction || frame.name !== name) return;
      isDue = false;
      callback();
    });
  }

  /** Until the end of the test. */
  on<N extends HandoverEventName>(name: N, callback: (event: HandoverEvents[N]) => void): void {
    const channel = eventChannel(name);
    const listener = (event: unknown): void => callback(event as HandoverEvents[N]);
    channel.subscribe(listener);
    onTestFinished(() => void channel.unsubscribe(listener));
  }

  async #end(): Promise<void> {
    for (const side of [...this.sides].reverse()) {
      side.cut();
      void side.executor.close().catch(() => {});
    }
    await this.clock.until(() => this.sides.every(({ isClosed }) => isClosed), 'the end of all sides');
    for (const side of this.sides) side.dispose();
  }
}

/** One process. */
export class Side {
  readonly resources: Resources;
  readonly duties: AppDuties;
  readonly executor: Executor;
  readonly pid: number;
  /** To the process that started it, and to those it has started. */
  readonly wires: Wire[];
  readonly exited: Deferred<Exit> = new Deferred();
  /** Signals that it got. */
  readonly signals: string[] = [];
  /** Where it listens. */
  port = 0;
  /** How `ready()` of its app ended. */
  outcome: unknown;
  isAlive = true;
  isClosed = false;
  #isStopped = false;
  readonly #stderrFd = openSync('/dev/null', 'w');

  constructor(
    world: World,
    pid: number,
    variables: NodeJS.ProcessEnv,
    wire: Wire | undefined,
    options: ReturnType<typeof checkHandoverOptions>,
  ) {
    this.pid = pid;
    this.wires = wire ? [wire] : [];
    const env = this.#envOf(world, variables);
    const start: Start = noteStart(env);
    this.resources = new Resources(env);
    this.duties = new AppDuties(env.clock);
    this.executor = new Executor(env, options, start, this.resources, this.duties);
    void this.executor.closed.then(() => {
      this.isClosed = true;
      this.#exit({ code: 0, signal: null });
    });
  }

  /** What its operator sees. */
  get phase(): string {
    return this.executor.describe().phase;
  }

  get isInCharge(): boolean {
    return this.executor.isInCharge;
  }

  /** Starts the program: what it throws ends it. */
  async run(app: App): Promise<void> {
    try {
      await this.executor.open();
      await app(this);
    } catch (error) {
      this.outcome = error;
      await this.executor.close();
    }
  }

  /** A server on a free port, which tells each client the number of its process. */
  async listen(name: string, serve: (socket: Socket) => void = (socket) => socket.end(`${this.pid}`)): Promise<Server> {
    const server = createServer(serve);
    const { address } = await this.resources.listen(server, { name, port: 0, host: '127.0.0.1' });
    if (typeof address === 'object') this.port = address.port;
    return server;
  }

  ready(): Promise<void> {
    return this.executor.ready(async () => {});
  }

  /** As SIGKILL: nobody hears from it any more, and what it held is free. */
  kill(): void {
    this.#exit({ code: null, signal: 'SIGKILL' });
    void this.executor.close().catch(() => {});
  }

  /** As SIGSTOP: nothing is read, nothing is said, no timer runs. */
  stop(): void {
    for (const wire of this.wires) wire.stop();
    this.#isStopped = true;
  }

  cut(): void {
    for (const wire of this.wires) wire.cut();
  }

  /** What the test leaves. */
  dispose(): void {
    closeFd(this.#stderrFd);
  }

  get process(): StartedProcess {
    return {
      pid: this.pid,
      exited: this.exited.promise,
      hasEnded: () => !this.isAlive,
      kill: (signal) => {
        this.signals.push(signal);
        if (!this.isAlive) return false;
        if (signal === 'SIGKILL') this.kill();
        else if (!this.#isStopped) void this.executor.close().catch(() => {});
        return true;
      },
      unref: () => {},
    };
  }

  #exit(exit: Exit): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.cut();
    this.exited.resolve(exit);
  }

  #envOf(world: World, variables: NodeJS.ProcessEnv): Env {
    const { pid } = this;
    return {
      clock: this.#clockOf(world.clock),
      pid,
      parentPid: 1,
      variables,
      startVariables: { ...variables },
      argv: [process.execPath, '/app.js'],
      argv0: process.execPath,
      execPath: process.execPath,
      execArgv: [],
      hasIpc: false,
      isClusterWorker: false,
      hasClusterWorkers: false,
      isWorkerThread: false,
      cwd: () => '/',
      isExecutable: () => true,
      start: async (_command, _stderr, channel) => {
        const wire = new Wire(dupFd(channel));
        this.wires.push(wire);
        const side = world.add({ [CHANNEL_VARIABLE]: String(wire.end) }, wire);
        world.onStart(side);
        void side.run(world.app);
        const { kill, ...started } = side.process;
        // The dead send no signals.
        return { ...started, kill: (signal) => this.isAlive && kill(signal) };
      },
      stderrFd: this.#stderrFd,
      writeStderr: () => true,
      stderrRoom: async () => {},
    };
  }

  /** A process that is stopped or dead has no timers. One that is being ended by the test has. */
  #clockOf(clock: Clock): Clock {
    const unlessStopped = (callback: () => void) => () => {
      if (!this.#isStopped || !this.isAlive) callback();
    };
    return {
      now: () => clock.now(),
      after: (ms, callback) => clock.after(ms, unlessStopped(callback)),
      every: (ms, callback) => clock.every(ms, unlessStopped(callback)),
    };
  }
}

/**
 * What joins two sides. It passes on what comes, so that the test can cut it, as the kernel does at a death, or let it lie, as
 * it lies where a process is stopped.
 */
export class Wire {
  /** The successor's descriptor, and its to close. */
  readonly end: number;
  readonly #predecessor: FdSocket;
  readonly #successor: FdSocket;
  #isStopped = false;

  /** Owns the predecessor's. */
  constructor(predecessor: number) {
    const [ours, theirs] = socketpair();
    this.#predecessor = new FdSocket(predecessor);
    this.#successor = new FdSocket(ours);
    this.end = theirs;
    void this.#pass(this.#predecessor, this.#successor);
    void this.#pass(this.#successor, this.#predecessor);
  }

  /** Both ends see that the other is gone, when they have read what it said before. */
  cut(): void {
    if (!this.#isStopped) {
      passNow(this.#predecessor, this.#successor);
      passNow(this.#successor, this.#predecessor);
    }
    this.#predecessor.close();
    this.#successor.close();
  }

  /** Nothing passes any more, and neither end sees why. */
  stop(): void {
    this.#isStopped = true;
  }

  async #pass(from: FdSocket, to: FdSocket): Promise<void> {
    try {
      for await (const { bytes, fds } of from) {
        if (!this.#isStopped) await to.send(bytes, fds).finally(() => closeFds(fds));
        else closeFds(fds);
      }
    } catch {
      // The other end is closed.
    }
    if (!this.#isStopped) this.cut();
  }
}

function passNow(from: FdSocket, to: FdSocket): void {
  if (from.closed || to.closed) return;
  try {
    for (let read = recvFds(from.fd); read.bytes.length > 0; read = recvFds(from.fd)) {
      try {
        sendFds(to.fd, read.bytes, read.fds);
      } finally {
        closeFds(read.fds);
      }
    }
  } catch {
    // There is no more.
  }
}
