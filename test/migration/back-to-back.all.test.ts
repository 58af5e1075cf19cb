// G2, G3: clients that send the next request in the instant they have the answer. No turn of the event loop ever finds
// their connections idle: each must be stopped where one response has ended and the next request has not been read.
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { HandoverOptions } from '../../lib/index.js';
import { type App, type Boot, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Drained, portOf } from './generations.js';
import { Wire } from './wire.js';

expectNoLeaks();
const { chain } = useApps();

/** Milliseconds an answer takes. */
const ANSWER = 500;

/** And for so long the app computes on: the next request is in the kernel before the loop turns. */
const AFTER = 5;

interface Setting {
  readonly handover?: HandoverOptions;
  /** Answers do not wait for the body. */
  readonly isEarly?: boolean;
}

/** A generation that answers each request with its method, its URL and the length of its body. */
function slow({ handover = {}, isEarly = false }: Setting = {}): Boot {
  return boot(
    async (inside, options, isEarly, answer, after) => {
      const http = process.getBuiltinModule('node:http');
      const wait = new Int32Array(new SharedArrayBuffer(4));
      const web = http.createServer(async (request, response) => {
        let length = 0;
        if (!isEarly) for await (const chunk of request) length += chunk.length;
        setTimeout(() => {
          const body = `${request.method} ${request.url} ${length}`;
          response.writeHead(200, { 'x-pid': process.pid, 'content-length': body.length }).end(body);
          Atomics.wait(wait, 0, 0, after);
        }, answer);
      });
      await inside.open({ probation: { duration: 0 }, drain: { timeout: 5_000 }, ...options });
      inside.say('listening', await inside.handover.listen(web, { name: 'web', port: 0, host: '127.0.0.1' }));
      await inside.handover.ready();
    },
    handover,
    isEarly,
    ANSWER,
    AFTER,
  );
}

interface Habit {
  /** Requests on their way at any time. @default 1 */
  readonly depth?: number;
  /** The request of a path. @default a GET */
  readonly request?: (wire: Wire, path: string) => unknown;
  /** Before the answer: what else comes, or has to be sent. */
  readonly before?: (wire: Wire) => Promise<unknown>;
  /** The answer to a path. */
  readonly answer?: (path: string) => string;
}

/** A client that is never between two requests for longer than a turn of its loop. */
class Busy {
  readonly wire: Wire;
  readonly pids: number[] = [];
  /** Responses that said `Connection: close`. */
  told = 0;
  #goesOn = true;
  readonly #over: Promise<void>;

  constructor(port: number, habit: Habit) {
    this.wire = new Wire(port);
    this.#over = this.#run(habit);
    this.#over.catch(() => {});
  }

  async #run({ depth = 1, request, before, answer = (path) => `GET ${path} 0` }: Habit): Promise<void> {
    const send = request ?? ((wire: Wire, path: string) => wire.get(path));
    let sent = 0;
    for (let read = 0; this.#goesOn || read < sent; read++) {
      while (this.#goesOn && sent < read + depth) send(this.wire, `/${sent++}`);
      await before?.(this.wire);
      const { status, body, pid, head } = await this.wire.response();
      expect([status, body.toString()]).toEqual([200, answer(`/${read}`)]);
      this.pids.push(pid);
      if (!head.some((line) => /^connection: close$/i.test(line))) continue;
      this.told++;
      return;
    }
  }

  /** Every request has been answered, whole and in order; rejects with what went wrong. */
  async stop(): Promise<void> {
    this.#goesOn = false;
    await this.#over;
    expect(this.wire.pending).toBe(0);
  }
}

async function busy(app: App, count: number, habit: Habit = {}): Promise<Busy[]> {
  const port = await portOf(app);
  const all = Array.from({ length: count }, () => new Busy(port, habit));
  await until(() => all.every(({ pids }) => pids.length > 0), { what: 'the first answers', interval: 20 });
  return all;
}

const BODY = 'x'.repeat(300);

describe('G2, G3: clients that send the next request as soon as they have the answer', () => {
  test.each<[string, number, Habit, Setting]>([
    ['one at a time', 40, {}, {}],
    ['three pipelined at any time', 40, { depth: 3 }, {}],
    [
      'each with a body',
      10,
      {
        request: (wire, path) => wire.send(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n${BODY}`),
        answer: (path) => `POST ${path} 300`,
      },
      {},
    ],
    [
      'each with a body whose end comes after the answer',
      10,
      {
        request: (wire, path) => {
          wire.send(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n${BODY.slice(1)}`);
          setTimeout(() => wire.send('x'), 2 * ANSWER).unref();
        },
        answer: (path) => `POST ${path} 0`,
        before: () => pause(2 * ANSWER + 50),
      },
      { isEarly: true },
    ],
    [
      'each after 100 Continue',
      10,
      {
        request: (wire, path) =>
          wire.send(`PUT ${path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n`),
        before: async (wire) => {
          expect(await wire.head()).toMatch(/^HTTP\/1\.1 100 /);
          wire.send(BODY);
        },
        answer: (path) => `PUT ${path} 300`,
      },
      {},
    ],
  ])('%s: every connection moves, none is told to close, closed or cut', async (_, count, habit, setting) => {
    const { chain: processes, first } = await chain(slow(setting));
    const all = await busy(first, count, habit);
    await first.upgrade();
    const drained = await first.said<Drained>('handover:drained');
    const second = await processes.generation(2);
    await pause(3 * ANSWER);
    for (const client of all) await client.stop();
    expect(drained).toMatchObject({ moved: count, cut: 0 });
    expect(all.map(({ pids, told, wire }) => [pids.at(-1), told, wire.end, wire.connects])).toEqual(
      all.map(() => [second.pid, 0, undefined, 1]),
    );
    await first.gone();
    await second.close();
  });

  test('where nothing moves each is told with an answer that the drain waits for', async () => {
    const { first, chain: processes } = await chain(
      slow({ handover: { migrate: false, drain: { timeout: 3 * ANSWER } } }),
    );
    const all = await busy(first, 40);
    await first.upgrade();
    const drained = await first.said<Drained>('handover:drained');
    for (const client of all) await client.stop();
    expect(drained).toMatchObject({ moved: 0, cut: 0 });
    expect(all.map(({ pids, told }) => [pids.at(-1), told])).toEqual(all.map(() => [first.pid, 1]));
    await first.gone();
    await (await processes.generation(2)).close();
  });
});
