// G1, G2, G4: a UDP socket is one queue in the kernel that both processes hold: each datagram is read by exactly one of
// them, whichever is stopped, killed or taken back.
import { describe, expect, it } from 'vitest';
import type { Standby } from '../../lib/index.js';
import { failureOf, familyOf, stopped } from '../engine/engine.js';
import { type App, type Boot, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Family, kernelSocket, Numbered } from './numbered.js';

expectNoLeaks();
const apps = useApps();

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
/** The kernel's share for one small datagram is below 1 KiB. */
const socketOptions = [{ level: SOL_SOCKET, name: SO_RCVBUF, value: 2 << 20 }];

interface Plan {
  readonly probation?: number;
  /** As a Node whose dgram sockets do not show their handle: reception cannot be stopped. */
  readonly isOpaque?: boolean;
  readonly isHealthy?: boolean;
  /** Milliseconds the app takes to make an answer. */
  readonly delay?: number;
}

const site = (family: Family, host: string, plan: Plan = {}): Boot =>
  boot(
    async (inside, family, listen, { isOpaque, isHealthy, probation, delay }) => {
      const socket = inside.create(family);
      if (delay > 0) {
        socket.removeAllListeners('message').on('message', (message: Buffer, { port, address }) => {
          setTimeout(() => socket.send(`${process.pid} ${message}`, port, address), delay);
        });
      }
      if (isOpaque) {
        const symbols = Object.getOwnPropertySymbols(socket);
        const symbol = symbols.find(({ description }) => description === 'state symbol') as symbol;
        Object.defineProperty(Object.getPrototypeOf(socket), symbol, { value: Reflect.get(socket, symbol) });
        Reflect.deleteProperty(socket, symbol);
      }
      await inside.open({
        drain: { timeout: 20_000 },
        probation: { duration: probation, stallTimeout: 300 },
        health: { check: () => isHealthy },
      });
      inside.say('listening', await inside.handover.listen(socket, listen));
      // As serve() does it: killed, it would take with it what it has read.
      process.on('SIGTERM', () => void inside.handover.close());
      await inside.handover.ready();
    },
    family,
    { name: 'numbers', port: 0, host, socketOptions },
    { probation: 0, isOpaque: false, isHealthy: true, delay: 0, ...plan },
  );

async function portOf(app: App): Promise<number> {
  const { address } = await app.said<{ address: { port: number } }>('listening');
  return address.port;
}

/** From now on it drains until `release()`: something is still at work there. */
const hold = (app: App): Promise<unknown> =>
  app.run(({ handover, kept }) => {
    handover.waitUntil(
      new Promise((resolve) => {
        kept.release = resolve;
      }),
    );
  });
const release = (app: App): Promise<unknown> => app.run(({ kept }) => (kept.release as () => void)());

describe.each([
  ['udp4', '127.0.0.1'],
  ['udp6', '::1'],
] as const)('%s', (family, host) => {
  /** Nothing was answered twice, nothing was not, and that was not the kernel's doing. */
  const expectExact = (numbers: Numbered, port: number): void => {
    expect(numbers.wrong).toEqual({});
    expect(kernelSocket(family, port).drops).toBe(0);
  };

  it('G1, G2: thousands through three handovers with probation, each answered once', async () => {
    const { first, generation } = await familyOf(apps, site(family, host, { probation: 150 }));
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    await numbers.answered(first.pid, 1_500);
    let app = first;
    for (const number of [2, 3, 4]) {
      const { pid } = await app.upgrade();
      // Once the successor is in charge the predecessor reads nothing more.
      await app.gone();
      app = await generation(number);
      expect(app.pid).toBe(pid);
      await numbers.answered(pid, 1_500);
    }
    await numbers.settle();
    expectExact(numbers, port);
    expect(numbers.answers.size).toBe(4);
    await app.close();
  });

  it('G1: what waits in the queue when the predecessor stops reading is read by the successor', async () => {
    const { first, generation } = await familyOf(apps, site(family, host));
    const port = await portOf(first);
    const numbers = await Numbered.open(family, port, host);
    await first.run(async ({ handover, kept }) => {
      kept.standby = await handover.prepare();
    });
    // Its loop is busy, and goes from there into COMMIT before it looks at the socket again.
    const committed = first.run(({ kept, say }) => {
      say('busy');
      const { promises } = process.getBuiltinModule('node:fs');
      return promises.access('/').then(() => {
        const end = performance.now() + 400;
        while (performance.now() < end);
        return (kept.standby as Standby).commit();
      });
    });
    await first.said('busy');
    numbers.burst(1_500);
    const { pid } = (await committed) as { pid: number };
    await numbers.settle();
    expect(numbers.answers.get(pid) ?? 0).toBeGreaterThan(1_000);
    expectExact(numbers, port);
    await first.gone();
    await (await generation(2)).close();
  });

  it('G4: a predecessor that is stopped while it drains keeps none, and answers none when it goes on', async () => {
    const { first, generation } = await familyOf(apps, site(family, host));
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    await numbers.answered(first.pid, 500);
    await hold(first);
    const { pid } = await first.upgrade();
    await numbers.answered(pid, 500);
    const before = numbers.answers.get(first.pid);
    await stopped(first);
    await numbers.answered(pid, 2_000);
    first.process.signal('SIGCONT');
    await numbers.answered(pid, 2_000);
    await release(first);
    await first.gone();
    await numbers.settle();
    expect(numbers.answers.get(first.pid)).toBe(before);
    expectExact(numbers, port);
    await (await generation(2)).close();
  });

  it('G4: a predecessor that is stopped on probation answers what it had read, the successor all the rest', async () => {
    const { first, generation } = await familyOf(apps, site(family, host, { probation: 1_500 }));
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    const upgrade = first.upgrade();
    const second = await generation(2);
    await second.booted;
    await numbers.answered(second.pid, 50);
    await stopped(first);
    await numbers.answered(second.pid, 1_000);
    first.process.signal('SIGCONT');
    await upgrade;
    await first.gone();
    await numbers.answered(second.pid, 500);
    await numbers.settle();
    expectExact(numbers, port);
    await second.close();
  });

  it('G2: answers that are still being made when the predecessor retires are sent', async () => {
    const { first, generation } = await familyOf(apps, site(family, host, { delay: 400 }));
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    await numbers.answered(first.pid, 1_000);
    const { pid } = await first.upgrade();
    await first.gone();
    await numbers.answered(pid, 1_000);
    await numbers.settle();
    expectExact(numbers, port);
    await (await generation(2)).close();
  });

  it('G5: recall: what nobody read while the successor hung is read by the predecessor', async () => {
    const { first, generation } = await familyOf(apps, site(family, host));
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    await hold(first);
    const { pid } = await first.upgrade();
    await numbers.answered(pid, 1_000);
    // What it has read and not answered would die with it: that is not what is asked here.
    await numbers.settle();
    await stopped(await generation(2));
    numbers.burst(1_000);
    await until(() => kernelSocket(family, port).queued > 0, { what: 'datagrams that nobody reads' });
    await first.said('handover:in-charge', 2);
    await numbers.settle();
    await numbers.flow(200).answered(first.pid, 1_000);
    await release(first);
    // And on to another successor.
    const { pid: third } = await first.upgrade();
    await first.gone();
    await numbers.answered(third, 1_000);
    await numbers.settle();
    expectExact(numbers, port);
    await (await generation(3)).close();
  });

  it('G5: a successor that fails on probation answers what it has read', async () => {
    const boots = [site(family, host, { probation: 400 }), site(family, host, { isHealthy: false })];
    const { first } = await familyOf(apps, boots);
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    expect(await failureOf(first)).toMatchObject({ code: 'ERR_HANDOVER_PROBATION_FAILED' });
    await numbers.answered(first.pid, 1_000);
    await numbers.settle();
    expectExact(numbers, port);
    await first.close();
  });

  it('G2: where Node cannot stop reception the predecessor reads on to its end, each datagram is still read once', async () => {
    const { first, generation } = await familyOf(apps, site(family, host, { isOpaque: true }));
    const port = await portOf(first);
    const numbers = (await Numbered.open(family, port, host)).flow(200);
    await hold(first);
    const { pid } = await first.upgrade();
    const second = await generation(2);
    for (const reader of [first.pid, pid]) await numbers.answered(reader, 200);
    await release(first);
    await first.gone();
    await numbers.answered(pid, 1_000);
    expect((await second.upgrade()).generation).toBe(3);
    await second.gone();
    const third = await generation(3);
    await numbers.answered(third.pid, 1_000);
    await numbers.settle();
    expectExact(numbers, port);
    await third.close();
  });
});

it('G7: a queue nobody reads is empty again after the last process has ended', async () => {
  const { first } = await familyOf(apps, site('udp4', '127.0.0.1'));
  const port = await portOf(first);
  await first.close();
  await until(() => !isBound(port), { what: 'the port to be free' });
});

function isBound(port: number): boolean {
  try {
    return kernelSocket('udp4', port).queued >= 0;
  } catch {
    return false;
  }
}
