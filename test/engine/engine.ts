// What the tests of the engine share: a server that tells what happens to it, an upgrade whose end is a value, and
// visitors that tell refused connections from those that died with their process.
import net from 'node:net';
import { onTestFinished } from 'vitest';
import type * as lib from '../../lib/index.js';
import { type App, type Apps, type Boot, boot, type Inside } from '../handover/apps.js';
import type { Target } from '../handover/clients.js';
import { untilStopped } from '../helpers/processes.js';
import type { Program, StartOptions } from '../helpers/programs.js';

export { temporaryFolder as privateFolder } from '../helpers/folders.js';

export const LOCALHOST = '127.0.0.1';

/** Functions travel as text: they see their argument and Node's globals only. */
type Step = (inside: Inside) => unknown;

/** One generation of a server. */
export interface Plan {
  readonly options?: Omit<lib.HandoverOptions, 'health' | 'warmup'> & {
    readonly health?: { readonly endpoint: lib.HealthEndpointOptions };
  };
  readonly listen?: lib.ListenOptions;
  readonly health?: (inside: Inside) => boolean | Promise<boolean>;
  readonly warmup?: Step;
  /** Between `openHandover` and `listen`. */
  readonly before?: Step;
  /** After `ready()`. */
  readonly after?: Step;
}

/**
 * An HTTP server of fixtures/servers.mjs. It says `generation`, `listening`, `duty` (start, stop), `hook`, `closing`, and `server` with
 * each 'close' and 'listening' of it.
 */
export function server({ health, warmup, before, after, ...plan }: Plan = {}): Boot {
  const steps = { health: `${health}`, warmup: `${warmup}`, before: `${before}`, after: `${after}` };
  return boot(
    async (inside, { options, listen = { port: 0, host: '127.0.0.1' } }, texts) => {
      const step = (text: string): Step | undefined => new Function(`return (${text})`)();
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      for (const name of ['standby-lost', 'takeover-refused', 'stuck']) {
        subscribe(`handover:${name}`, (event) => {
          const { error, ...rest } = event as { error?: Error };
          inside.say(`handover:${name}`, { ...rest, ...(error && { error: error.message }) });
        });
      }
      const health = step(texts.health) as Plan['health'];
      const warmup = step(texts.warmup);
      const handover = await inside.open({
        drain: { timeout: 10_000 },
        ...options,
        health: { ...options?.health, ...(health && { check: () => health(inside) }) },
        ...(warmup && { warmup: () => warmup(inside) }),
      });
      inside.say('generation', handover.generation);
      const web = inside.create('http');
      for (const event of ['close', 'listening']) web.on(event, () => inside.say('server', event));
      handover.whenInCharge((signal) => {
        inside.say('duty', 'start');
        signal.addEventListener('abort', () => inside.say('duty', 'stop'));
      });
      handover.onClose('hook', () => inside.say('hook', 'ran'));
      handover.closing.addEventListener('abort', () => inside.say('closing', 'aborted'));
      await step(texts.before)?.(inside);
      const listening = await handover.listen(web, listen);
      inside.say('listening', listening);
      await handover.ready();
      await step(texts.after)?.(inside);
    },
    plan,
    steps,
  );
}

/** Where the server of `server()` is. */
export async function targetOf(app: App): Promise<{ readonly port: number; readonly host: string }> {
  const { address } = await app.said<{ address: { port: number } }>('listening');
  return { port: address.port, host: LOCALHOST };
}

/** A HandoverError, field by field. */
export interface Failure {
  readonly name: string;
  readonly code: lib.HandoverErrorCode;
  readonly message: string;
  readonly phase: lib.Phase | undefined;
  readonly stillServing: boolean;
  readonly exitCode?: number | null;
  readonly exitSignal?: string | null;
  readonly stderr?: string;
  readonly connectionsLost?: number;
  readonly cause?: { readonly code?: string; readonly message: string };
}

/** How `upgrade()` (or another work) ended: what it resolved with, or the error. */
export function failureOf(app: App, work: Step = ({ handover }) => handover.upgrade()): Promise<Failure> {
  return app.run(async (inside, text) => {
    try {
      await new Function(`return (${text})`)()(inside);
    } catch (error) {
      const { name, code, message, phase, stillServing, exitCode, exitSignal, stderr, connectionsLost, cause } =
        error as lib.HandoverError;
      const known = { name, code, message, phase, stillServing, exitCode, exitSignal, stderr, connectionsLost };
      const { code: causeCode, message: causeMessage = '' } = (cause ?? {}) as { code?: string; message?: string };
      return { ...known, ...(cause !== undefined && { cause: { code: causeCode, message: causeMessage } }) };
    }
    throw new Error('it did not fail');
  }, `${work}`) as Promise<Failure>;
}
/** Whatever became of one connection with one request. */
type Visit = { readonly pid: number } | { readonly refused: string } | { readonly lost: string };

/**
 * Fresh connections, one request each, several at a time. `refused`: no connection came about, which must not happen;
 * `lost`: it did, and ended without the whole answer, as it must where the process that owned it died.
 */
export class Visitors {
  readonly refused: string[] = [];
  readonly lost: string[] = [];
  readonly answers = new Map<number, number>();
  readonly #target: Target;
  readonly #loops: Promise<void>[];
  readonly #waiting = new Set<() => void>();
  #isStopped = false;
  #paused: { readonly promise: Promise<void>; readonly resume: () => void } | undefined;
  #visiting = 0;

  constructor(target: Target, count = 4) {
    this.#target = target;
    this.#loops = Array.from({ length: count }, () => this.#loop());
    onTestFinished(() => this.stop());
  }

  /** Resolves when this process has given so many more answers. */
  async answered(pid: number, count: number): Promise<void> {
    const enough = (this.answers.get(pid) ?? 0) + count;
    while ((this.answers.get(pid) ?? 0) < enough) {
      if (this.refused.length > 0) throw new Error(`refused: ${this.refused[0]}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Resolves when no connection of these visitors is open. */
  async pause(): Promise<void> {
    let resume = (): void => {};
    const promise = new Promise<void>((resolve) => {
      resume = resolve;
    });
    this.#paused = { promise, resume };
    while (this.#visiting > 0) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  resume(): void {
    this.#paused?.resume();
    this.#paused = undefined;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.resume();
    await Promise.all(this.#loops);
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      await this.#paused?.promise;
      this.#visiting++;
      const seen = await visit(this.#target);
      this.#visiting--;
      if ('pid' in seen) this.answers.set(seen.pid, (this.answers.get(seen.pid) ?? 0) + 1);
      else if ('refused' in seen) this.refused.push(seen.refused);
      else this.lost.push(seen.lost);
      for (const resolve of this.#waiting) resolve();
      this.#waiting.clear();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

const VISIT_DEADLINE = 12_000;

/** One connection, one request. */
export function visit(target: Target, path = '/'): Promise<Visit> {
  return new Promise((resolve) => {
    const socket = net.connect({ ...target });
    let text = '';
    let isConnected = false;
    const end = (reason: string): void => {
      clearTimeout(timer);
      socket.destroy();
      const [head = '', body] = text.split('\r\n\r\n', 2);
      const field = (name: string): number => Number(new RegExp(`${name}: (\\d+)`, 'i').exec(head)?.[1]);
      if (head.startsWith('HTTP/1.1 200 ') && body?.length === field('content-length'))
        resolve({ pid: field('x-pid') });
      else resolve(isConnected ? { lost: `${reason} after ${JSON.stringify(text)}` } : { refused: reason });
    };
    const timer = setTimeout(() => end(`no answer in ${VISIT_DEADLINE} ms`), VISIT_DEADLINE);
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('connect', () => {
      isConnected = true;
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    });
    socket.on('end', () => end('closed'));
    socket.on('error', (error) => end(error.message));
  });
}

/** The processes of one hub: each `start()` is an independent one, and all are counted with their successors. */
export interface Family {
  start(options?: StartOptions): Program;
  generation(number: number): Promise<App>;
}

const APP = new URL('../handover/fixtures/app.mjs', import.meta.url);

/** Like `chain`, for more than one process that nobody's predecessor starts. Starts the first. */
export async function familyOf(
  apps: Apps,
  boots: Boot | readonly Boot[],
  options: StartOptions = {},
): Promise<Family & { readonly first: App }> {
  const { env, generation } = await apps.dialled(boots);
  const start = (more: StartOptions = {}): Program =>
    apps.start(APP, { ...options, ...more, env: { ...options.env, ...more.env, ...env } });
  start();
  const first = await generation(1);
  await first.booted;
  return { start, generation, first };
}

/** Resolves when the kernel says that the process has stopped. */
export async function stopped(app: App): Promise<void> {
  app.process.signal('SIGSTOP');
  await untilStopped(app.pid);
}

/** A measured value, for people: it is shown whether the test passes or not. */
export function figures(line: string): void {
  process.stdout.write(`${line}\n`);
}
