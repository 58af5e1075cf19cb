// G2, G3: clients nobody here wrote, through three handovers under load: not one error, not one new connection.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as http from 'node:http';
import type { Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { type App, type Chain, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Drained, generation, portOf } from './generations.js';

expectNoLeaks();
const { chain } = useApps();

const HANDOVERS = 3;
const server = { keepAliveTimeout: 60_000 };

/** So many handovers; after each `settle` waits until the new process is seen by the client. */
async function handovers(processes: Chain, first: App, settle: (app: App) => Promise<void>): Promise<App> {
  let app = first;
  await settle(app);
  for (let number = 2; number <= HANDOVERS + 1; number++) {
    const predecessor = app;
    await app.upgrade();
    app = await processes.generation(number);
    await settle(app);
    expect(await predecessor.said<Drained>('handover:drained')).toMatchObject({ cut: 0 });
    await predecessor.gone();
  }
  return app;
}

it("node's http.Agent with ten sockets", async () => {
  const { chain: processes, first } = await chain(generation({ server }));
  const port = await portOf(first);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 10 });
  const sockets = new Set<Socket>();
  const failures: string[] = [];
  const answers = new Map<number, number>();
  let count = 0;
  let isStopped = false;
  let changed = (): void => {};

  const ask = async (): Promise<void> => {
    const id = count++;
    const body = id % 3 === 0 ? Buffer.alloc(1 + ((id * 37) % 20_000), `${id} `) : undefined;
    const request = http.request({ agent, port, host: '127.0.0.1', path: `/${id}`, method: body ? 'POST' : 'GET' });
    request.on('socket', (socket) => sockets.add(socket));
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('latin1')) text += chunk;
    const expected = `${body ? 'POST' : 'GET'} /${id} ${body?.toString('latin1') ?? ''}`;
    if (response.statusCode !== 200 || text !== expected) failures.push(`/${id}: ${response.statusCode}`);
    const pid = Number(response.headers['x-pid']);
    answers.set(pid, (answers.get(pid) ?? 0) + 1);
    changed();
  };
  const loops = Array.from({ length: 20 }, async () => {
    while (!isStopped) {
      await ask().catch((error: Error) => {
        failures.push(error.message);
        isStopped = true;
        changed();
      });
    }
  });
  const seen = async ({ pid }: App): Promise<void> => {
    const target = (answers.get(pid) ?? 0) + 200;
    while ((answers.get(pid) ?? 0) < target) {
      if (failures.length > 0) throw new Error(failures.join('\n'));
      await new Promise<void>((resolve) => {
        changed = resolve;
      });
    }
  };
  const last = await handovers(processes, first, seen);
  isStopped = true;
  await Promise.all(loops);
  agent.destroy();
  expect(failures).toEqual([]);
  expect([sockets.size, answers.size]).toEqual([10, HANDOVERS + 1]);
  await last.close();
}, 30_000);

const hasCurl = spawnSync('curl', ['--version']).status === 0;

/** Transfers one after another until it is told to end. */
class Curl {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #changed: () => void = () => {};

  constructor(port: number) {
    const report = '%{num_connects} %{http_code} %{exitcode} %header{x-pid}\n';
    const url = `http://127.0.0.1:${port}/[1-1000000]`;
    const options = ['-sS', '-o', '/dev/null', '-w', report, '--rate', '18000/m', '-d', 'some=body', url];
    const child = spawn('curl', options, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text: string) => {
        const parts = (rest + text).split('\n');
        // The line it is told to end in is no line.
        rest = parts.pop() ?? '';
        this.lines.push(...parts);
        this.#changed();
      });
    }
    this.#child = child;
    this.#ended = once(child, 'close').finally(() => this.#changed());
    onTestFinished(() => this.stop());
  }

  /** Waits for a transfer that this process answered. */
  async served(pid: number): Promise<void> {
    for (let from = 0; !this.lines.slice(from).some((line) => line.endsWith(` ${pid}`)); ) {
      if (this.#child.exitCode !== null) throw new Error(`curl ended: ${this.lines.slice(-3).join(', ')}`);
      from = this.lines.length;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  /** A transfer that is under way has no line. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}

it.runIf(hasCurl)(
  'curl: five of them, each with one connection for all its transfers',
  async () => {
    const { chain: processes, first } = await chain(generation({ server }));
    const port = await portOf(first);
    const curls = Array.from({ length: 5 }, () => new Curl(port));
    const last = await handovers(processes, first, async ({ pid }) => {
      await Promise.all(curls.map((curl) => curl.served(pid)));
    });
    await Promise.all(curls.map((curl) => curl.stop()));
    for (const { lines } of curls) {
      // The first transfer connects, no other does.
      expect(lines.filter((line) => !line.startsWith('0 200 0 '))).toEqual([`1 200 0 ${first.pid}`]);
      expect(new Set(lines.map((line) => line.split(' ')[3])).size).toBe(HANDOVERS + 1);
    }
    await last.close();
  },
  30_000,
);
