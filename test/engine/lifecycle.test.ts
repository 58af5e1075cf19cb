// What the app ties to a generation: close hooks, work that delays the exit, duties of the one in charge, kept values.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { constants, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { boot, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { figures, LOCALHOST, privateFolder, server, targetOf } from './engine.js';

expectNoLeaks();
const { chain } = useApps();
const options = { probation: { duration: 0 } };

describe('onClose', () => {
  const hooks = server({
    options,
    before: ({ handover, say }) => {
      handover.onClose('last', () => say('ran', 'last'), { after: 'pool' });
      handover.onClose('first', () => say('ran', 'first'));
      handover.onClose('hangs', () => new Promise(() => {}), { timeout: 50 });
      handover.onClose('fails', () => {
        throw new Error('the pool is gone already');
      });
      handover.onClose('pool', async () => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        say('ran', 'pool');
      });
    },
  });

  it('G8: hooks run after the last request, in their order, each within its time; what fails is named', async () => {
    const { chain: processes, first } = await chain(hooks);
    const client = new HttpConnection(await targetOf(first));
    const held = client.request('/hold');
    await first.said('held');
    await first.upgrade();
    expect(first.allSaid('ran')).toEqual([]);
    await first.run(({ servers }) => servers.http?.release());
    expect((await held).pid).toBe(first.pid);
    client.close();
    await first.process.gone();
    expect(first.allSaid('ran')).toEqual(['pool', 'last', 'first']);
    const failed = first.allSaid('handover:hook-failed') as { name: string; error: { message: string } }[];
    expect(failed.map(({ name, error }) => [name, error.message])).toEqual([
      ['hangs', 'the close hook "hangs" did not end within 50 ms'],
      ['fails', 'the pool is gone already'],
    ]);
    await (await processes.generation(2)).close();
  });

  it('hooks run on a shutdown without a successor, too', async () => {
    const { first } = await chain(hooks);
    await first.close();
    expect(first.allSaid('ran')).toEqual(['pool', 'last', 'first']);
  });
});

describe('waitUntil', () => {
  it('G2: work that was given to waitUntil() ends before its process does, also what it adds', async () => {
    const { chain: processes, first } = await chain(server({ options }));
    await first.run(({ handover, kept, say }) => {
      const step = (name: string) =>
        new Promise<void>((resolve) => {
          kept[name] = () => {
            say('done', name);
            resolve();
          };
        });
      handover.waitUntil(step('one').then(() => handover.waitUntil(step('two'))));
      handover.waitUntil(Promise.reject(new Error('its own affair')));
    });
    await first.upgrade();
    expect(await first.run(({ kept }) => (kept.one as () => void)())).toBeNull();
    await first.run(({ kept }) => (kept.two as () => void)());
    await first.process.gone();
    expect(first.allSaid('done')).toEqual(['one', 'two']);
    expect(first.allSaid('hook')).toEqual(['ran']);
    await (await processes.generation(2)).close();
  });

  it('not for longer than drain.timeout', async () => {
    const { chain: processes, first } = await chain(server({ options: { ...options, drain: { timeout: 300 } } }));
    await first.run(({ handover }) => handover.waitUntil(new Promise(() => {})));
    const start = performance.now();
    await first.upgrade();
    await first.process.gone();
    expect(performance.now() - start).toBeGreaterThanOrEqual(300);
    expect(first.allSaid('handover:drained')).toHaveLength(1);
    await (await processes.generation(2)).close();
  });
});

it('whenInCharge: two generations never work at the same time', async () => {
  const journal = join(privateFolder(), 'journal');
  const worker = server({
    options: { probation: { duration: 200 } },
    before: ({ handover }) => {
      const { appendFileSync } = process.getBuiltinModule('node:fs');
      const write = (what: string) =>
        appendFileSync(process.env.JOURNAL as string, `${process.hrtime.bigint()} ${process.pid} ${what}\n`);
      handover.whenInCharge(async (signal) => {
        write('begins');
        while (!signal.aborted) {
          write('works');
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        // Ending takes a while: the next one waits for it.
        await new Promise((resolve) => setTimeout(resolve, 100));
        write('ends');
      });
    },
  });
  const { chain: processes, first } = await chain(worker, { env: { JOURNAL: journal } });
  let app = first;
  for (const generation of [2, 3]) {
    await app.upgrade();
    await app.process.gone();
    app = await processes.generation(generation);
  }
  await app.close();
  const lines = readFileSync(journal, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ') as [string, string, string])
    .sort(([a], [b]) => (BigInt(a) < BigInt(b) ? -1 : 1));
  const turns = lines.filter(([, pid], i) => lines[i - 1]?.[1] !== pid).map(([, pid]) => Number(pid));
  expect(turns).toEqual([first.pid, (await processes.generation(2)).pid, app.pid]);
  expect(lines.filter(([, , what]) => what !== 'works').map(([, , what]) => what)).toEqual(
    turns.flatMap(() => ['begins', 'ends']),
  );
});

describe('keep and inherited', () => {
  it('bytes, a function asked at COMMIT, a descriptor, and a replaced value: through three generations', async () => {
    const keeps = server({
      options,
      before: ({ handover, kept, say }) => {
        const read = (name: string) => handover.inherited(name)?.bytes().toString() ?? null;
        if (handover.generation === 1) {
          handover.keep('fixed', Buffer.from('since generation 1'));
          handover.keep('replaced', Buffer.from('old'));
          handover.keep('replaced', Buffer.from('of generation 1'));
          const { closeSync, openSync } = process.getBuiltinModule('node:fs');
          const pipe = openSync(process.env.PIPE as string, 'w');
          handover.keepFd('pipe', pipe);
          closeSync(pipe);
        } else {
          kept.replaced = read('replaced');
          handover.keep('replaced', Buffer.from(`of generation ${handover.generation}, after ${kept.replaced}`));
        }
        // In the other order: what this process keeps is what goes on, and what it inherited can be read all the same.
        handover.keep('reversed', Buffer.from(`of generation ${handover.generation}`));
        kept.reversed = read('reversed');
        kept.count = Number(read('count') ?? 0);
        handover.keep('count', () => Buffer.from(String(kept.count)));
        handover.whenInCharge(() => {
          kept.count = Number(read('count') ?? 0) + 1;
          const { replaced, reversed, count } = kept;
          say('inherited', { fixed: read('fixed'), replaced, reversed, count, none: read('none') });
          const pipe = handover.inherited('pipe');
          if (pipe) process.getBuiltinModule('node:fs').writeSync(pipe.fd, `written by ${handover.generation}\n`);
        });
      },
    });
    const path = join(privateFolder(), 'pipe');
    execFileSync('mkfifo', [path]);
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { chain: processes, first } = await chain(keeps, { env: { PIPE: path } });
    // From here on there is a writer: it ends with the last of them.
    const pipe = new net.Socket({ fd, readable: true, writable: false });
    const closed = once(pipe, 'close');
    let written = '';
    pipe.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk;
    });
    let app = first;
    const seen = [];
    for (const generation of [2, 3]) {
      await app.upgrade();
      await app.process.gone();
      app = await processes.generation(generation);
      seen.push(await app.said('inherited'));
    }
    const fixed = 'since generation 1';
    expect(seen).toEqual([
      { fixed, replaced: 'of generation 1', reversed: 'of generation 1', count: 2, none: null },
      { fixed, replaced: 'of generation 2, after of generation 1', reversed: 'of generation 2', count: 3, none: null },
    ]);
    await app.close();
    await closed;
    expect(written).toBe('written by 2\nwritten by 3\n');
  });

  it('JSON values, and functions asked for them at COMMIT', async () => {
    const keeps = server({
      options,
      before: ({ handover, say }) => {
        const names = ['object', 'list', 'text', 'flag', 'nothing', 'later'];
        if (handover.generation === 1) {
          handover.keep('object', { users: { a: 1 } });
          handover.keep('list', [1, 'two', null]);
          handover.keep('text', 'three');
          handover.keep('flag', false);
          handover.keep('nothing', null);
          handover.keep('later', async () => ({ count: 4 }));
        }
        handover.whenInCharge(() =>
          say(
            'json',
            names.map((name) => handover.inherited(name)?.json() ?? null),
          ),
        );
      },
    });
    const { chain: processes, first } = await chain(keeps);
    await first.upgrade();
    const second = await processes.generation(2);
    expect(await second.said('json')).toEqual([
      { users: { a: 1 } },
      [1, 'two', null],
      'three',
      false,
      null,
      { count: 4 },
    ]);
    await second.close();
  });

  it('a descriptor by keep(), as it was spelled before keepFd(): it arrives, with one warning', async () => {
    const keeps = server({
      options,
      before: ({ handover, say }) => {
        const { closeSync, openSync, readlinkSync } = process.getBuiltinModule('node:fs');
        if (handover.generation === 2) {
          say('inherited', readlinkSync(`/proc/self/fd/${handover.inherited('log')?.fd}`));
          return;
        }
        const warnings: string[][] = [];
        process.on('warning', ({ name, message }) => warnings.push([name, message]));
        handover.onClose('warnings', () => say('warnings', warnings));
        const fd = openSync('/dev/null', 'w');
        handover.keep('other', fd);
        handover.keep('log', fd);
        closeSync(fd);
      },
    });
    const { chain: processes, first } = await chain(keeps);
    await first.upgrade();
    const second = await processes.generation(2);
    expect(await second.said('inherited')).toBe('/dev/null');
    expect(await first.said('warnings')).toEqual([
      ['DeprecationWarning', expect.stringContaining('keep() with a descriptor is spelled keepFd() now')],
    ]);
    await second.close();
  });

  it('what has no form in JSON is refused', async () => {
    const { first } = await chain(
      server({
        options,
        before: ({ handover, say }) => {
          const refused = (keep: () => void): string => {
            try {
              keep();
              return 'kept';
            } catch (error) {
              return (error as Error).message;
            }
          };
          const values: unknown[] = [
            undefined,
            Symbol.iterator,
            new Map(),
            Promise.resolve(1),
            new Float64Array(1),
            1n,
          ];
          say('refused', [
            ...values.map((value) => refused(() => handover.keep('value', value as string))),
            ...['0', -1, 1.5].map((fd) => refused(() => handover.keepFd('log', fd as number))),
            refused(() => handover.keep('', 'x')),
          ]);
        },
      }),
    );
    const refused = await first.said<string[]>('refused');
    expect(refused.slice(0, 6)).toEqual(
      Array(6).fill(expect.stringMatching(/^"value" must be bytes, a JSON value that is no number, or a function/)),
    );
    expect(refused.slice(6)).toEqual([
      ...Array(3).fill(expect.stringMatching(/^"fd" must be an integer from 0/)),
      expect.stringMatching(/^"name" must be a non-empty string that does not begin with handover:/),
    ]);
    await first.close();
  });

  it('64 MB arrive unchanged, without a copy through the socket', async () => {
    const MB = 1_048_576;
    const big = server({
      options,
      before: ({ handover, say }) => {
        const { createHash } = process.getBuiltinModule('node:crypto');
        const bytes =
          handover.inherited('big')?.bytes() ?? Buffer.alloc(64 * 1_048_576, 'sixty-four megabytes of state');
        if (handover.generation === 1) handover.keep('big', bytes);
        say('digest', [bytes.length, createHash('sha256').update(bytes).digest('hex')]);
      },
    });
    const { chain: processes, first } = await chain(big);
    let app = first;
    for (const generation of [2, 3]) {
      const { phases } = await app.upgrade();
      figures(`64 MB kept: generation ${generation} ready after ${phases[0]?.durationMs.toFixed(0)} ms`);
      await app.process.gone();
      app = await processes.generation(generation);
      expect(await app.said('digest')).toEqual(await first.said('digest'));
    }
    expect((await first.said<[number]>('digest'))[0]).toBe(64 * MB);
    await app.close();
  });

  it('G7: what nobody asks for is closed when the predecessor is gone', async () => {
    const careless = server({ options });
    const { chain: processes, first } = await chain([
      server({ options, before: ({ handover }) => handover.keep('unwanted', Buffer.from('bytes')) }),
      careless,
    ]);
    expect(memfds(first.pid)).toBe(1);
    await first.upgrade();
    await first.process.gone();
    const second = await processes.generation(2);
    await until(() => memfds(second.pid) === 0, { what: 'the blob to be closed' });
    await second.close();
  });
});

function memfds(pid: number): number {
  const all = [...openDescriptors(pid).values()].filter((target) => target.includes('memfd'));
  // The arbiter's is each generation's.
  return all.filter((target) => !target.includes('handover:charge')).length;
}

it('serve() reports what keeps an ended generation alive, then ends it', async () => {
  const stuck = boot(async (inside) => {
    const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
    subscribe('handover:stuck', (event) => inside.say('stuck', event));
    const server = inside.create('http');
    inside.handover = await inside.lib.serve(server, { port: 0, host: '127.0.0.1', probation: { duration: 0 } });
    // An app that forgot this one.
    setInterval(() => {}, 60_000);
  });
  const { chain: processes, first } = await chain(stuck);
  await first.upgrade();
  expect(await first.said('stuck')).toMatchObject({ generation: 1, resources: expect.arrayContaining(['Timeout']) });
  expect(await processes.program.exit()).toEqual({ code: 0, signal: null });
  const second = await processes.generation(2);
  second.process.signal('SIGTERM');
  await second.process.gone();
});

it('G7: a pool of 20 connections, ended by onClose: 10 handovers, at most 40 at a time, 20 at the end', async () => {
  // The "database": it counts who is connected.
  let now = 0;
  let peak = 0;
  const database = net.createServer((socket) => {
    now++;
    peak = Math.max(peak, now);
    socket.resume().on('error', () => {});
    socket.on('close', () => now--);
  });
  await new Promise<void>((resolve) => database.listen(0, LOCALHOST, resolve));
  onTestFinished(() => new Promise((resolve) => database.close(() => resolve(undefined))));
  const pooled = server({
    options,
    before: async ({ handover }) => {
      const { connect } = process.getBuiltinModule('node:net');
      const pool = Array.from({ length: 20 }, () => connect(Number(process.env.DATABASE), '127.0.0.1'));
      await Promise.all(pool.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
      handover.onClose('pool', () => {
        for (const socket of pool) socket.end();
      });
    },
  });
  const { port } = database.address() as net.AddressInfo;
  const { chain: processes, first } = await chain(pooled, { env: { DATABASE: String(port) } });
  let app = first;
  for (let generation = 2; generation <= 11; generation++) {
    await app.upgrade();
    await app.process.gone();
    app = await processes.generation(generation);
  }
  await until(() => now === 20, { what: 'the pools of those before to be closed' });
  figures(`a pool of 20 over 10 handovers: at most ${peak} connections, ${now} at the end`);
  expect(peak).toBeLessThanOrEqual(40);
  expect(peak).toBeGreaterThan(20);
  await app.close();
  await until(() => now === 0, { what: 'the last pool to be closed' });
});
