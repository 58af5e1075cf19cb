// G4, G7: what the successor holds of the connections on offer: one verdict for each, and what GO, ABORT, a death and an end
// make of it. The protocols are played; the descriptors are real.
import { describe, expect, onTestFinished, test } from 'vitest';
import { closeFd, dupFd } from '../../lib/fd/index.js';
import { type Held, type OfferedConnection, VERDICT } from '../../lib/protocol/batches.js';
import type { Adopter, Hold, Migrator } from '../../lib/protocols/protocol.js';
import { Holding } from '../../lib/transfer/holding.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const NOTHING = new Uint8Array(0);
const at = (listener: string, protocol: string): OfferedConnection => ({
  listener,
  protocol,
  head: NOTHING,
  state: NOTHING,
});
const WEB = at('web', 'taken');

/** Listener "web" has a protocol that takes what it is offered, one that refuses, and one whose app answers later. */
function scene() {
  const became: string[] = [];
  const answers: Held[] = [];
  const decide: (() => void)[] = [];
  const take = (fd: number): Hold => {
    const end = (word: string) => () => {
      became.push(word);
      closeFd(fd);
    };
    return { go: end('adopted'), abort: end('given back') };
  };
  const protocols: Readonly<Record<string, (fd: number) => Hold | Promise<Hold>>> = {
    taken: take,
    refused: (fd) => void closeFd(fd) as undefined,
    asked: (fd) => new Promise<Hold>((resolve) => decide.push(() => resolve(take(fd)))),
  };
  const adopter: Adopter = (name) => {
    const hold = protocols[name];
    return hold && ({ protocol: name, hold } as unknown as Migrator);
  };
  const holding = new Holding((listener) => (listener === 'web' ? adopter : undefined));
  onTestFinished(() => holding.abortAll());
  const offer = (batch: number, connections: readonly OfferedConnection[], count = connections.length): void =>
    holding.hold(
      { batch, connections },
      Int32Array.from({ length: count }, () => dupFd(2)),
      (held) => answers.push(held),
    );
  return { holding, offer, became, answers, decide };
}

const fault = (message: string): unknown =>
  expect.objectContaining({ code: 'ERR_HANDOVER_PROTOCOL', message, stillServing: true });

test('one verdict for each, at once, and what was refused is closed', () => {
  const { holding, offer, became, answers } = scene();
  offer(1, [WEB, at('other', 'taken'), at('web', 'unheard-of'), at('web', 'refused'), WEB]);
  const { held, unknownListener, unknownProtocol, refused } = VERDICT;
  expect(answers).toEqual([{ batch: 1, verdicts: [held, unknownListener, unknownProtocol, refused, held] }]);
  holding.go(1);
  expect([became, holding.adopted]).toEqual([['adopted', 'adopted'], 2]);
});

test('G7: what the table has no room for is held by nobody, and given without harm', () => {
  const { holding, became, answers } = scene();
  holding.refuse({ batch: 1, connections: [WEB, WEB] }, (held) => answers.push(held));
  expect(answers).toEqual([{ batch: 1, verdicts: [VERDICT.noRoom, VERDICT.noRoom] }]);
  holding.go(1);
  expect([became, holding.adopted]).toEqual([[], 0]);
});

describe('G7: refused as a fault of the predecessor, and closed', () => {
  test.each([0, 2])('an offer of one connection with %i descriptors', (count) => {
    const { offer, answers } = scene();
    expect(() => offer(7, [WEB], count)).toThrow(
      fault(`OFFER 7 of 1 connections came with ${count} descriptors`) as Error,
    );
    expect(answers).toEqual([]);
  });

  test('a batch that is held already', () => {
    const { offer } = scene();
    offer(1, [WEB]);
    expect(() => offer(1, [WEB])).toThrow(fault('OFFER 1 of 1 connections came with 1 descriptors') as Error);
  });

  test('GO of a batch that is not held, that was given, that was taken back, or whose app is asked still', () => {
    const { holding, offer, became, decide } = scene();
    const given = (batch: number): void =>
      expect(() => holding.go(batch)).toThrow(fault(`GO ${batch} names no batch that is held`) as Error);
    given(1);
    offer(1, [WEB]);
    holding.go(1);
    given(1);
    offer(2, [WEB]);
    holding.abort(2);
    given(2);
    offer(3, [at('web', 'asked')]);
    given(3);
    expect(became).toEqual(['adopted', 'given back']);
    for (const answer of decide) answer();
  });
});

test('the app is asked about one of a batch: the verdicts wait for it, and for nothing else', async () => {
  const { holding, offer, became, answers, decide } = scene();
  offer(1, [WEB, at('web', 'asked')]);
  offer(2, [WEB]);
  expect(answers).toEqual([{ batch: 2, verdicts: [VERDICT.held] }]);
  decide[0]?.();
  await expect.poll(() => answers.length).toBe(2);
  expect(answers[1]).toEqual({ batch: 1, verdicts: [VERDICT.held, VERDICT.held] });
  holding.abortAll();
  expect(became).toEqual(['given back', 'given back', 'given back']);
});

test('G4: the predecessor is dead: all is adopted', async () => {
  const { holding, offer, became } = scene();
  offer(1, [WEB]);
  offer(2, [WEB, WEB]);
  await holding.goAll();
  expect([became, holding.adopted]).toEqual([['adopted', 'adopted', 'adopted'], 3]);
});

test('this process leaves: it waits for the word about each batch that it has answered', async () => {
  const { holding, offer, became } = scene();
  offer(1, [WEB]);
  offer(2, [WEB]);
  let isSettled = false;
  const settled = holding.settled().then(() => {
    isSettled = true;
  });
  holding.go(1);
  await new Promise(setImmediate);
  expect([isSettled, became]).toEqual([false, ['adopted']]);
  holding.abort(2);
  await settled;
  expect(became).toEqual(['adopted', 'given back']);
});
