// The pace of the demo's clients: a round is over when each of them has made one more request, and has had it settled.
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Pace } from '../../bench/demo/pace.mjs';

const FOREVER = 2 ** 30;

/** Clients whose requests are settled by hand. */
function clients(pace: Pace, count: number) {
  return Array.from({ length: count }, () => {
    const client = { begun: 0, hasFinished: false, settle: (): void => pace.next(start, finish) };
    const start = (): void => void client.begun++;
    const finish = (): void => {
      client.hasFinished = true;
    };
    client.settle();
    return client;
  });
}

async function isOver(round: Promise<void>): Promise<boolean> {
  return await Promise.race([round.then(() => true), turn(false)]);
}

test('a round wakes who sleeps, and awaits who is under way twice: what began before it does not count', async () => {
  const pace = new Pace(() => 0, FOREVER);
  const [sleeping, busy] = clients(pace, 2);
  expect([sleeping?.begun, busy?.begun]).toEqual([1, 1]);
  sleeping?.settle();
  const round = pace.ask();
  expect([sleeping?.begun, busy?.begun]).toEqual([2, 1]);
  sleeping?.settle();
  busy?.settle();
  expect(busy?.begun).toBe(2);
  expect(await isOver(round)).toBe(false);
  busy?.settle();
  expect(await isOver(round)).toBe(true);
  pace.stop();
});

test('each round asks again', async () => {
  const pace = new Pace(() => 0, FOREVER);
  const [client] = clients(pace, 1);
  client?.settle();
  for (const begun of [2, 3]) {
    const round = pace.ask();
    expect(client?.begun).toBe(begun);
    expect(await isOver(round)).toBe(false);
    client?.settle();
    expect(await isOver(round)).toBe(true);
  }
  pace.stop();
});

test('a stop ends who sleeps at once, and who is under way when that is settled', () => {
  const pace = new Pace(() => 0, FOREVER);
  const [sleeping, busy] = clients(pace, 2);
  sleeping?.settle();
  pace.stop();
  expect([sleeping?.hasFinished, busy?.hasFinished]).toEqual([true, false]);
  busy?.settle();
  expect(busy).toMatchObject({ begun: 1, hasFinished: true });
});
