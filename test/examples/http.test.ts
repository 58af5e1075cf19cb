// G1, G2, G3: the examples with frameworks hand over under load: no request fails, no connection is closed.
import { randomBytes } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Answer, HttpConnection, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { Example, type ExampleOptions } from './example.js';

expectNoLeaks();
const programs = usePrograms();

/** The right, whole answer to one of the three routes. */
async function ask(connection: HttpConnection, turn: number): Promise<Answer> {
  const kind = turn % 4;
  const body = kind === 3 ? Buffer.from(randomBytes(25_000).toString('hex')) : undefined;
  const path = kind === 3 ? '/echo' : kind === 1 ? '/slow' : '/';
  const expected = body?.toString() ?? (kind === 1 ? 'hello, after 300 ms\n' : 'hello\n');
  const answer = await connection.request(path, body);
  if (answer.body.toString() !== expected) throw new Error(`${path}: ${answer.body.toString().slice(0, 200)}`);
  return answer;
}

const examples: [string, ExampleOptions?][] = [
  ['express.mjs'],
  ['fastify.mjs'],
  ['koa.mjs'],
  ['hono.mjs'],
  ['nest.mjs', { auto: true }],
];

describe('two handovers under load: every request gets its whole, right answer, on the connection it began with', () => {
  it.each(examples)('%s', async (name, options) => {
    const example = await Example.start(programs, name, options);
    const target = { port: example.port, host: '127.0.0.1' };
    const kept = Array.from({ length: 4 }, () => new HttpConnection(target));
    const fresh = new HttpConnection(target);
    onTestFinished(() => [...kept, fresh].forEach((connection) => void connection.close()));
    await using load = new Load();
    for (const [i, connection] of kept.entries()) {
      let turn = i;
      load.loop(() => ask(connection, turn++), 50);
    }
    load.loop(() => fresh.request('/', undefined, true), 25);

    await load.answered(example.current.pid, 20);
    for (let handover = 0; handover < 2; handover++) {
      await example.handOver(() => load.answers.keys());
      await load.answered(example.current.pid, 20);
    }
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(load.answers.size).toBe(3);
    expect(kept.map(({ opened }) => opened)).toEqual([1, 1, 1, 1]);
    // Idle ones would keep it for their keepAliveTimeout.
    for (const connection of kept) connection.close();
    await example.stop();
  });
});
