// G2, G3: wrk and ab through three handovers: they end with nothing failed, and wrk with the connections it began with.
import { expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import type { Program } from '../helpers/programs.js';
import { portOf } from './generations.js';
import { handOver, loaded } from './loaded.js';
import { hasTool, needs, startTool } from './tools.js';

expectNoLeaks();
const { chain } = useApps();

const HANDOVERS = 3;

/** Rejects when the program ends: nothing tells it to before the handovers are done. */
async function endOf(program: Program): Promise<never> {
  const { code, signal } = await program.exit(60_000);
  throw new Error(`it ended with ${signal ?? code}:\n${program.stdout}\n${program.stderr}`);
}

it.runIf(hasTool('wrk')).each([
  ['as fast as it can', '/now', 10],
  ['with answers that take a while', '/', 40],
])(
  `wrk, %s${needs('wrk')}`,
  async (_, path, connections) => {
    const { chain: processes, first } = await chain(loaded());
    const url = `http://127.0.0.1:${await portOf(first)}${path}`;
    const wrk = startTool('wrk', ['-t', '1', '-c', `${connections}`, '-d', '60s', '--timeout', '10s', url]);
    const { apps, ports } = await handOver(processes, first, HANDOVERS, endOf(wrk));
    expect(await wrk.stop('SIGINT')).toMatchObject({ code: 0 });
    // It says so only where there are any.
    expect(wrk.stdout).not.toMatch(/Socket errors|Non-2xx/);
    expect(Number(/(\d+) requests in/.exec(wrk.stdout)?.[1])).toBeGreaterThan(300 * (HANDOVERS + 1));
    expect(ports.size).toBe(connections);
    await apps.at(-1)?.close();
  },
  30_000,
);

/** `ab -n 1000 -c 50` again and again, until told to stop: what each run reported. */
class ApacheBenches {
  readonly reports: string[] = [];
  readonly failed: Promise<never>;
  readonly #done: Promise<void>;
  #isStopped = false;

  constructor(url: string, options: readonly string[]) {
    let fail: (error: Error) => void = () => {};
    this.failed = new Promise((_, reject) => {
      fail = reject;
    });
    this.failed.catch(() => {});
    this.#done = this.#run(url, options).catch(fail);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(url: string, options: readonly string[]): Promise<void> {
    while (!this.#isStopped) {
      const ab = startTool('ab', ['-q', '-n', '1000', '-c', '50', ...options, url]);
      const { code, signal } = await ab.exit(30_000);
      await ab.closed;
      if (code !== 0) throw new Error(`ab ended with ${signal ?? code}:\n${ab.stdout}\n${ab.stderr}`);
      this.reports.push(ab.stdout);
    }
  }
}

it.runIf(hasTool('ab')).each([
  ['with a connection for each request', [] as string[]],
  ['with keep-alive', ['-k']],
])(
  `ab -n 1000 -c 50, %s${needs('ab')}`,
  async (_, options) => {
    const { chain: processes, first } = await chain(loaded());
    // Two of them: one begins, and the other is in the middle of it.
    const url = `http://127.0.0.1:${await portOf(first)}/`;
    const benches = [new ApacheBenches(url, options), new ApacheBenches(url, options)];
    const failed = Promise.race(benches.map(({ failed }) => failed));
    const { apps } = await handOver(processes, first, HANDOVERS, failed);
    await Promise.race([failed, Promise.all(benches.map((bench) => bench.stop()))]);
    for (const report of benches.flatMap(({ reports }) => reports)) {
      expect(report).toMatch(/^Complete requests: +1000$/m);
      expect(report).toMatch(/^Failed requests: +0$/m);
      expect(report).not.toMatch(/Non-2xx responses|Write errors/);
      expect(/^Keep-Alive requests: +(\d+)$/m.exec(report)?.[1]).toBe(options.includes('-k') ? '1000' : undefined);
    }
    await apps.at(-1)?.close();
  },
  30_000,
);
