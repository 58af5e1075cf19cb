// G5: whatever the successor does instead of serving, the predecessor serves on, says why, and keeps nothing of it.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { untilStopped } from '../helpers/processes.js';
import { type App, type Boot, boot, exceptReserveNumbers, type InsideError, useApps } from './apps.js';
import { HttpConnection, loadOf } from './clients.js';

expectNoLeaks();
const { chain } = useApps();

interface Listening {
  readonly address: { readonly port: number };
}

const web = boot(async (inside) => {
  await inside.open({ readyTimeout: 10_000, probation: { duration: 0 } });
  inside.say('listening', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
  await inside.handover.ready();
});

/** Longer than any successor takes; the test says when it is over. */
const READY_TIMEOUT = 120_001;

/** `web`, whose time for a successor is over when {@link timeOver} says so. */
const impatient = boot(async (inside, readyTimeout) => {
  const { setTimeout } = globalThis;
  globalThis.setTimeout = ((callback: () => void, ms?: number, ...args: unknown[]) => {
    if (ms === readyTimeout) inside.kept.timeOver = callback;
    return Reflect.apply(setTimeout, globalThis, [callback, ms, ...args]);
  }) as typeof setTimeout;
  await inside.open({ readyTimeout, probation: { duration: 0 } });
  inside.say('listening', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
  await inside.handover.ready();
}, READY_TIMEOUT);

const timeOver = (app: App): Promise<void> => app.run(({ kept }) => (kept.timeOver as () => void)());

const target = async (app: App) => ({ port: (await app.said<Listening>('listening')).address.port, host: '127.0.0.1' });

/** What a process holds that a failed handover could have changed. */
const state = async (app: App) => {
  const found = await app.run(({ handover, children, descriptors }) => ({
    isInCharge: handover.isInCharge,
    isClosing: handover.closing.aborted,
    generation: handover.generation,
    children: children(),
    descriptors: descriptors(),
  }));
  return { ...found, descriptors: exceptReserveNumbers(found.descriptors) };
};

/**
 * A handover to this successor fails under load: with what error, and everything else is as it was. `hangs` resolves when
 * the successor does what it is to be ended for.
 */
async function fails(successor: Boot, hangs?: (successor: App) => Promise<unknown>): Promise<InsideError> {
  const first = hangs ? impatient : web;
  const { chain: processes, first: app } = await chain([first, successor, web]);
  const before = await state(app);
  const ongoing = loadOf('http', await target(app));
  const failed = app.upgrade().then(
    () => expect.unreachable('the handover succeeded'),
    (error: InsideError) => error,
  );
  if (hangs) {
    await hangs(await processes.generation(2));
    await timeOver(app);
  }
  const error = await failed;
  expect(error).toMatchObject({ name: 'HandoverError', isHandoverError: true, stillServing: true });
  await ongoing.load.answered(app.pid, 10);
  await ongoing.load.stop();
  ongoing.close();
  expect(ongoing.load.failures).toEqual([]);
  expect([...ongoing.load.answers.keys()]).toEqual([app.pid]);
  await (await processes.generation(2)).gone();
  await expect.poll(() => state(app)).toEqual(before);
  expect(app.events.at(-1)).toEqual(['failed', expect.objectContaining({ stillServing: true, generation: 1 })]);

  // The next attempt succeeds.
  const { pid } = await app.upgrade();
  await app.gone();
  const third = await processes.generation(3);
  expect(third.pid).toBe(pid);
  expect(await third.run(({ handover }) => handover.generation)).toBe(2);
  await third.close();
  return error;
}

describe('G5, G7: the successor ends before it is ready', () => {
  it('throws while it loads', async () => {
    const error = await fails(
      boot(async () => {
        setImmediate(() => {
          throw new Error('no database here');
        });
      }),
    );
    expect(error).toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'PREPARE',
      exitCode: 1,
      exitSignal: null,
      stderr: expect.stringContaining('Error: no database here'),
      message: expect.stringMatching(/exit code 1.*no database here/s),
    });
  });

  it.each([0, 1, 42])('exits %i', async (code) => {
    const error = await fails(
      boot((_inside, code) => {
        process.stderr.write(`first line\nlast line of ${code}\n`);
        process.exit(code);
      }, code),
    );
    expect(error).toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'PREPARE',
      exitCode: code,
      exitSignal: null,
      stderr: `first line\nlast line of ${code}`,
    });
  });

  it.each(['opened', 'claimed'])('is killed when it has %s', async (when) => {
    const error = await fails(
      boot(async (inside, when) => {
        await inside.open();
        if (when === 'claimed') await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
        process.kill(process.pid, 'SIGKILL');
      }, when),
    );
    expect(error).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', exitCode: null, exitSignal: 'SIGKILL' });
    expect(error.message).toContain('killed by SIGKILL');
  });

  it('closes its handover instead', async () => {
    const error = await fails(
      boot(async (inside) => {
        await inside.open();
        await inside.handover.close();
      }),
    );
    expect(error).toMatchObject({
      code: 'ERR_HANDOVER_CLOSED',
      phase: 'PREPARE',
      message: expect.stringContaining('the successor is shutting down'),
    });
  });
});

describe('G5, G7: ERR_HANDOVER_TIMEOUT', () => {
  const timeout = {
    code: 'ERR_HANDOVER_TIMEOUT',
    phase: 'PREPARE',
    message: expect.stringContaining(`not ready within ${READY_TIMEOUT} ms`),
  };

  it('a successor that never opens its handover is ended', async () => {
    const never = boot(() => {
      setInterval(() => {}, 60_000);
    });
    expect(await fails(never, ({ booted }) => booted)).toMatchObject({ ...timeout, exitSignal: 'SIGTERM' });
  });

  it('a successor that is deaf to SIGTERM is killed, with its children', async () => {
    const deaf = boot(async (inside) => {
      process.on('SIGTERM', () => inside.say('deaf'));
      await inside.open();
      setInterval(() => {}, 60_000);
    });
    expect(await fails(deaf, ({ booted }) => booted)).toMatchObject({ ...timeout, exitSignal: 'SIGKILL' });
  });

  it('a successor that is stopped is ended all the same', async () => {
    const stopped = boot(() => process.kill(process.pid, 'SIGSTOP'));
    expect(await fails(stopped, ({ pid }) => untilStopped(pid))).toMatchObject(timeout);
  });
});

describe('addresses', () => {
  it('ERR_HANDOVER_ADDRESS_IN_USE: what the predecessor holds outside of the handover, named with the way out', async () => {
    const outside = boot(async (inside) => {
      await inside.open({ successor: { env: () => ({ OUTSIDE_PORT: process.env.OUTSIDE_PORT }) } });
      inside.say('listening', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
      const server = inside.create('net').listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      process.env.OUTSIDE_PORT = String((server.address() as { port: number }).port);
      await inside.handover.ready();
      void inside.handover.closed.then(() => server.close());
    });
    const wants = boot(async (inside) => {
      await inside.open();
      await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      const listening = inside.listen('net', {
        name: 'admin',
        port: Number(process.env.OUTSIDE_PORT),
        host: '127.0.0.1',
      });
      await listening.catch((error) => {
        inside.say('refused', { code: error.code, message: error.message, cause: error.cause.code });
        throw error;
      });
    });
    const still = boot(async (inside) => {
      await inside.open();
      await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    });
    const { chain: processes, first } = await chain([outside, wants, still]);
    const failed = first.upgrade().catch((error) => error);
    const second = await processes.generation(2);
    const port = await first.run(() => process.env.OUTSIDE_PORT);
    expect(await second.said('refused')).toEqual({
      code: 'ERR_HANDOVER_ADDRESS_IN_USE',
      message: expect.stringMatching(new RegExp(`tcp://127\\.0\\.0\\.1:${port}.*"admin".*handover\\.listen\\(\\)`)),
      cause: 'EADDRINUSE',
    });
    await second.run(() => void process.exit(1)).catch(() => {});
    expect(await failed).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', exitCode: 1 });
    await first.close();
  });

  it('a changed address under the same name is bound anew; the old one is closed and reported', async () => {
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as { port: number };
    free.close();
    await once(free, 'close');
    const moved = boot(async (inside, port) => {
      await inside.open({ unclaimed: ['web'] });
      inside.say('listening', await inside.listen('http', { name: 'web', port, host: '127.0.0.1' }));
      await inside.handover.ready();
    }, port);
    const { chain: processes, first } = await chain([web, moved]);
    const old = await target(first);
    expect(await first.upgrade()).toMatchObject({ claimed: [], unclaimed: ['web'] });
    const second = await processes.generation(2);
    expect(await second.said('listening')).toMatchObject({ origin: 'bound', address: { port } });
    const client = new HttpConnection({ port, host: '127.0.0.1' });
    expect((await client.request('/')).pid).toBe(second.pid);
    client.close();
    await first.gone();
    const refused = new HttpConnection(old);
    await expect(refused.request('/')).rejects.toThrow('ECONNREFUSED');
    refused.close();
    await second.close();
  });

  it('the same address under another name: the error names the one it was handed over under', async () => {
    const port = await (async () => {
      const free = createServer().listen(0, '127.0.0.1');
      await once(free, 'listening');
      const { port } = free.address() as { port: number };
      free.close();
      await once(free, 'close');
      return port;
    })();
    const named = (name: string) =>
      boot(
        async (inside, name, port) => {
          await inside.open();
          await inside.listen('http', { name, port, host: '127.0.0.1' }).catch((error) => {
            inside.say('refused', error.message);
            process.exit(1);
          });
          await inside.handover.ready();
        },
        name,
        port,
      );
    const { chain: processes, first } = await chain([named('old'), named('new')]);
    const failed = first.upgrade().catch((error) => error);
    expect(await (await processes.generation(2)).said('refused')).toContain('"old"');
    expect(await failed).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    await first.close();
  });
});
