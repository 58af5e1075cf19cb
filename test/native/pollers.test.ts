// Readiness: what a poller reports, when it may go, and that ending a worker or the collector never finds it half gone.
import { spawnSync } from 'node:child_process';
import { readSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Poller, READABLE, WRITABLE } from '../../lib/fd/native.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { addon, addonFile, close, failed, hasPython, onLinux, own, pair, python, send } from './sandbox.js';

expectNoLeaks();

type Callback = (status: number, events: number) => void;

function open(fd: number, callback: Callback = () => {}): Poller {
  const poller = addon.openPoller(fd, callback);
  if (typeof poller === 'number') throw new Error(`openPoller: ${poller}`);
  onTestFinished(() => poller.close());
  return poller;
}

/** Starts a poller and resolves with what it reports first. */
function report(fd: number, events: number): Promise<[status: number, events: number]> {
  return new Promise((resolve) => {
    const poller = open(fd, (...reported) => {
      poller.close();
      resolve(reported);
    });
    expect(poller.start(events)).toBe(0);
  });
}

describe('a poller', () => {
  test('reports readable once there is something to read, writable at once', async () => {
    const [a, b] = pair();
    expect(await report(b, WRITABLE)).toEqual([0, WRITABLE]);
    const readable = report(b, READABLE);
    send(a, 'x');
    expect(await readable).toEqual([0, READABLE]);
    expect(await report(b, READABLE | WRITABLE)).toEqual([0, READABLE | WRITABLE]);
  });

  test('reports the end of the stream as readable', async () => {
    const [a, b] = pair();
    close(a);
    expect(await report(b, READABLE)).toEqual([0, READABLE]);
  });

  test.runIf(onLinux)(
    'reports -EBADF and stops where the peer closed on bytes of ours; those of the peer can still be read',
    async () => {
      const [a, b] = pair();
      send(b, 'never read');
      send(a, 'last words');
      close(a);
      expect(await report(b, READABLE)).toEqual([failed('EBADF'), 0]);
      const into = Buffer.alloc(64);
      expect(into.toString('utf8', 0, readSync(b, into))).toBe('last words');
      expect(() => readSync(b, into)).toThrow(expect.objectContaining({ code: 'ECONNRESET' }));
    },
  );

  test('runs microtasks and ticks after each callback', async () => {
    const [a, b] = pair();
    const order: string[] = [];
    const poller = open(b, () => {
      poller.close();
      process.nextTick(() => order.push('tick'));
      queueMicrotask(() => order.push('microtask'));
      setImmediate(() => order.push('immediate'));
    });
    poller.start(READABLE);
    send(a, 'x');
    await until(() => order.length === 3, { what: 'the three' });
    expect(order).toEqual(['tick', 'microtask', 'immediate']);
  });

  test('stops, starts again, and can change what it waits for', async () => {
    const [a, b] = pair();
    const seen: number[] = [];
    const poller = open(b, (_, events) => {
      seen.push(events);
      poller.stop();
    });
    send(a, 'x');
    expect(poller.start(READABLE)).toBe(0);
    await until(() => seen.length === 1, { what: 'readable' });
    await report(a, WRITABLE);
    expect(seen).toEqual([READABLE]);
    expect(poller.start(READABLE)).toBe(0);
    expect(poller.start(WRITABLE)).toBe(0);
    await until(() => seen.length === 2, { what: 'writable' });
    expect(seen).toEqual([READABLE, WRITABLE]);
  });

  test('does not close the descriptor, is closed as often as one likes, and then starts no more', async () => {
    const [, b] = pair();
    const poller = open(b);
    poller.start(READABLE);
    for (let i = 0; i < 3; i++) poller.close();
    expect(poller.start(READABLE)).toBe(failed('EBADF'));
    poller.stop();
    poller.ref();
    poller.unref();
    await nextTurn();
    poller.close();
    expect(addon.getCloexec(b)).toBe(1);
    open(b).close();
  });

  test('unknown events are -EINVAL', () => {
    const poller = open(pair()[0]);
    for (const events of [0, 4, -1, READABLE | 8, 'x' as unknown as number]) {
      expect(poller.start(events)).toBe(failed('EINVAL'));
    }
  });

  test('what cannot be polled: a file -EPERM, a closed descriptor -EBADF, one that has an armed poller -EEXIST', () => {
    expect(addon.openPoller(own(addon.sealedBlob('blob', Buffer.from('x'))), () => {})).toBe(failed('EPERM'));
    expect(addon.openPoller(1_000_000, () => {})).toBe(failed('EBADF'));
    expect(addon.openPoller(-1, () => {})).toBeLessThan(0);
    const [, b] = pair();
    open(b).start(READABLE);
    expect(addon.openPoller(b, () => {})).toBe(failed('EEXIST'));
  });

  test('its methods refuse another `this`', () => {
    const poller = open(pair()[0]);
    for (const other of [{}, undefined, new Map(), Object.create(poller)]) {
      expect(poller.start.call(other as Poller, READABLE)).toBe(failed('EBADF'));
      poller.close.call(other as Poller);
    }
    expect(poller.start(READABLE)).toBe(0);
  });

  test.each([
    ['ref', 'held'],
    ['unref', 'ended'],
  ])('%s: a process that only has an armed poller is %s', (method, end) => {
    const program = `
      const addon = require(${JSON.stringify(addonFile)});
      const pair = new Int32Array(2);
      addon.socketpair(addon.constants.SOCK_STREAM, pair);
      const poller = addon.openPoller(pair[0], () => { poller.close(); console.log('held'); });
      poller.start(1);
      poller.unref();
      poller.${method}();
      process.on('beforeExit', () => { poller.close(); console.log('ended'); });
      // There at once, but a loop that nothing holds does not look.
      addon.sendmsg(pair[1], Buffer.from('x'), pair, 0, false);`;
    const { stdout } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8', timeout: 10_000 });
    expect(stdout.split('\n')[0]).toBe(end);
  });
});

describe('K8: epoll knows descriptions, not descriptors', () => {
  test('K8: a poller closed before its descriptor is silent, though a copy lives on and becomes readable', async () => {
    const [a, b] = pair();
    const copy = own(addon.dupMin(b, 0));
    let fired = 0;
    const poller = open(b, () => {
      fired++;
    });
    poller.start(READABLE);
    await nextTurn();
    poller.close();
    close(b);
    send(a, 'x');
    expect(await report(copy, READABLE)).toEqual([0, READABLE]);
    expect(fired).toBe(0);
  });

  test.runIf(hasPython && onLinux)('K8: the other way round it goes on firing and cannot be taken out', () => {
    const program = `
a, b = socket.socketpair()
copy, epoll, fd = os.dup(b.fileno()), select.epoll(), b.fileno()
epoll.register(fd, select.EPOLLIN)
b.close()
a.send(b'x')
events = epoll.poll(1)
try: epoll.unregister(fd)
except OSError as error: print(json.dumps([events == [(fd, select.EPOLLIN)], -error.errno]))`;
    expect(python(program)).toEqual([true, failed('EBADF')]);
  });
});

describe('garbage collection', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;

  // In functions of their own, so that no register keeps the poller.
  const drop = (fd: number, callback: Callback, events: number): WeakRef<Poller> => {
    const poller = addon.openPoller(fd, callback) as Poller;
    if (events !== 0) expect(poller.start(events)).toBe(0);
    return new WeakRef(poller);
  };

  test('an armed poller nobody holds stays and fires', async () => {
    const [a, b] = pair();
    let fired = 0;
    const dropped = drop(b, () => fired++, READABLE);
    for (let i = 0; i < 5; i++) {
      await nextTurn();
      collect();
    }
    send(a, 'x');
    await until(() => fired > 0, { what: 'the callback' });
    dropped.deref()?.close();
  });

  test('an idle poller nobody holds goes, and gives its descriptor free', async () => {
    const [a, b] = pair();
    const dropped = drop(b, () => {}, 0);
    await until(
      () => {
        collect();
        return dropped.deref() === undefined;
      },
      { what: 'the poller to be collected' },
    );
    await nextTurn();
    const readable = report(b, READABLE);
    send(a, 'x');
    expect(await readable).toEqual([0, READABLE]);
  });
});

describe('worker threads', () => {
  interface FromWorker {
    readonly fds: readonly number[];
    readonly status?: number;
    readonly events?: number;
  }

  function start(mode: string): { worker: Worker; message: Promise<FromWorker>; exit: Promise<number> } {
    const worker = new Worker(new URL('fixtures/worker.mjs', import.meta.url), {
      workerData: { file: addonFile, mode },
    });
    const message = new Promise<FromWorker>((resolve) => {
      worker.once('message', (value: FromWorker) => {
        for (const fd of value.fds) own(fd);
        resolve(value);
      });
    });
    return { worker, message, exit: new Promise((resolve) => worker.once('exit', resolve)) };
  }

  test('the addon works in a worker, which ends by itself', async () => {
    const { message, exit } = start('round trip');
    expect(await message).toMatchObject({ status: 0, events: READABLE });
    expect(await exit).toBe(0);
  });

  test.each(['firing', 'quiet', 'idle', 'closing'])('a worker is ended while its poller is %s', async (mode) => {
    for (let round = 0; round < 5; round++) {
      const { worker, message } = start(mode);
      await message;
      expect(await worker.terminate()).toBe(1);
    }
  });

  test('what a callback throws is the uncaught exception of its own thread', async () => {
    const { worker, message, exit } = start('throwing');
    // Heard from the start: it may come together with the message.
    const thrown = new Promise<Error>((resolve) => worker.once('error', resolve));
    await message;
    const error = await thrown;
    expect(error.message).toBe('from the callback');
    expect(await exit).toBe(1);
  });
});
