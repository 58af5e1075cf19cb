// The judge of the chaos runs, on records made by hand: what is a loss, a split, a process or a file left behind.
import { describe, expect, it } from 'vitest';
import type { Failure } from '../faults/client.js';
import { type Blow, type Evidence, excuse, judgeEnd, judgeQuiet, type Quiet, type Seen } from './judge.js';
import type { RoundResult } from './round.js';
import { explain, failed, formatTable, summary } from './table.js';

const KILLED: Blow = { what: 'killed', pid: 11, at: 1_000, ports: new Set([4001, 4002]) };
const STOPPED: Blow = { what: 'stopped', pid: 12, at: 2_000, ports: new Set([4003]) };
const TOLD: Blow = { what: 'told to end', pid: 13, at: 3_000, ports: new Set([4004]) };

function evidence(more: Partial<Evidence> = {}): Evidence {
  return {
    blows: [KILLED, STOPPED, TOLD],
    outages: [{ from: 5_000, to: 6_000 }],
    hasBegun: () => true,
    acceptedBy: () => [],
    diedWith: () => undefined,
    hasFailed: () => false,
    isStranded: () => false,
    isBlamed: () => false,
    ...more,
  };
}

function failure(more: Partial<Failure>): Failure {
  const plain = { id: 'x-1', kind: 'lost', detail: 'ECONNRESET', target: 'tcp', isPolite: false } as const;
  return { ...plain, port: 4001, before: undefined, opened: 900, at: 1_005, ...more };
}

describe('a failure of a client', () => {
  it('is excused on a connection that a killed process alone had', () => {
    expect(excuse(failure({}), evidence())).toBe('owned by 11, killed');
  });

  it.each([
    ['on a connection of another process', { port: 4009 }],
    ['before the kill', { opened: 100, at: 800 }],
    ['on a connection that got the same port after it', { opened: 1_500, at: 1_600 }],
    ['refused while a process was left', { kind: 'refused', port: undefined, opened: 1_001, at: 1_002 }],
    ['answered twice', { kind: 'twice' }],
    ['answered with something else', { kind: 'wrong' }],
    ['begun, and cut by a process that was told to end', { port: 4004, opened: 2_900, at: 3_100 }],
    ['on a connection of a stopped process that went on', { port: 4003, opened: 1_900, at: 2_500 }],
    ['begun while nobody was left', { port: 4010, opened: 5_100, at: 5_200 }],
    ['refused after the next was ready', { kind: 'refused', port: undefined, opened: 6_500, at: 6_501 }],
  ] as const)('is a loss: %s', (_, more) => {
    expect(excuse(failure(more), evidence())).toBeUndefined();
  });

  it.each([
    [
      'an idle connection of a process that was told to end',
      { port: 4004, opened: 2_900, at: 3_100, isPolite: true },
      {},
    ],
    ['a request it had not begun', { port: 4004, opened: 2_900, at: 3_100 }, { hasBegun: () => false }],
    ['a connection it accepted later', { port: 4010, at: 3_100, isPolite: true }, { acceptedBy: () => [13] }],
    [
      'an idle one of a candidate that failed',
      { port: 4010, isPolite: true },
      { acceptedBy: () => [14], hasFailed: () => true },
    ],
    [
      'what a stopped process had that others killed',
      { port: 4003, opened: 1_900, at: 9_000 },
      { isBlamed: (): boolean => true },
    ],
    [
      'told to close by one that drains, and whose successor was killed',
      { port: 4010, detail: 'told to close by 16', isPolite: true },
      { isStranded: (pid: number): boolean => pid === 16 },
    ],
    [
      'an idle one that it had accepted',
      { port: 4010, detail: 'closed while idle', isPolite: true },
      { acceptedBy: () => [16], isStranded: (pid: number): boolean => pid === 16 },
    ],
    ['what one of a bad release had', { port: 4010 }, { diedWith: () => 15, isBlamed: (): boolean => true }],
    ['refused while nobody was left', { kind: 'refused', port: undefined, opened: 5_100, at: 5_101 }, {}],
  ] as const)('is excused: %s', (_, more, known) => {
    expect(excuse(failure(more), evidence(known))).toBeDefined();
  });

  it('is a loss where one that drains resets a request, or another one tells to close', () => {
    const known = { isStranded: (pid: number): boolean => pid === 16, acceptedBy: (): number[] => [16] };
    expect(excuse(failure({ port: 4010 }), evidence(known))).toBeUndefined();
    const told = { port: 4010, detail: 'told to close by 17', isPolite: true };
    expect(excuse(failure(told), evidence(known))).toBeUndefined();
  });

  it('is a loss where one that ended by itself had the connection', () => {
    expect(excuse(failure({ port: 4010 }), evidence({ diedWith: () => 15 }))).toBeUndefined();
  });
});

const ONE: Seen = { pid: 21, slot: 0, version: 3, isInCharge: true, isClosing: false, hasDuty: true, isStandby: false };
const TWO: Seen = { ...ONE, pid: 22 };

function quiet(more: Partial<Quiet> = {}): Quiet {
  return { seen: [ONE], answers: new Map([[21, 16]]), slots: 1, ...more };
}

const knows = (...pids: number[]): Quiet['known'] => pids.map((pid) => ({ pid, state: 'in-charge' }));

describe('what is left', () => {
  it.each([
    ['one process', quiet()],
    ['one, and a standby', quiet({ seen: [ONE, { ...TWO, isInCharge: false, hasDuty: false, isStandby: true }] })],
    ['a worker in each slot', quiet({ seen: [ONE, { ...TWO, slot: 1 }], slots: 2, known: knows(21, 22) })],
    ['the new release', quiet({ version: 3 })],
  ])('is right: %s', (_, seen) => {
    expect(judgeQuiet(seen)).toEqual({ splits: [], wrong: [] });
  });

  it.each([
    ['two in charge', quiet({ seen: [ONE, TWO] }), ['21 and 22 are in charge']],
    [
      'an answer of a stranger',
      quiet({
        answers: new Map([
          [21, 10],
          [99, 6],
        ]),
      }),
      ['99 is not in charge, and gave 6 answers'],
    ],
    [
      'two workers in one slot, one of them unknown',
      quiet({ seen: [ONE, TWO], known: knows(21) }),
      ['21 and 22 are in charge of slot 0', 'worker 22 is unknown to the supervisor'],
    ],
    [
      'a worker that does not live',
      quiet({ known: knows(21, 30) }),
      ["the supervisor's worker 30 (in-charge) does not live"],
    ],
  ])('is split: %s', (_, seen, splits) => {
    expect(judgeQuiet(seen).splits).toEqual(splits);
  });

  it.each([
    [
      'nobody in charge',
      quiet({ seen: [{ ...ONE, isInCharge: false, hasDuty: false }], answers: new Map() }),
      'nobody is in charge',
    ],
    ['an empty slot', quiet({ slots: 2, known: knows(21) }), 'nobody is in charge of slot 1'],
    ['one that hangs', quiet({ seen: [ONE, { ...TWO, isInCharge: undefined }] }), '22 says nothing'],
    [
      'one too many',
      quiet({ seen: [ONE, { ...TWO, isInCharge: false, hasDuty: false }] }),
      '22 lives and is not in charge',
    ],
    [
      'a duty that does not run',
      quiet({ seen: [{ ...ONE, hasDuty: false }] }),
      '21 is in charge, its duty does not run',
    ],
    ['one that closes', quiet({ seen: [{ ...ONE, isClosing: true }] }), '21 is in charge and closing'],
    ['the old release', quiet({ version: 4 }), '21 gave 16 answers of release 3 instead of 4'],
  ])('is wrong: %s', (_, seen, wrong) => {
    expect(judgeQuiet(seen).wrong).toContain(wrong);
  });
});

describe('the end of a process', () => {
  const clean = { pid: 31, wasInCharge: true, exitCode: 0, mayHaveDied: false, isGivenUp: false };

  it.each([
    ['0', clean],
    ['killed by the schedule', { ...clean, exitCode: undefined, mayHaveDied: true }],
    ['a candidate that was given up', { ...clean, exitCode: undefined, wasInCharge: false, isGivenUp: true }],
    ['a candidate that gave up', { ...clean, exitCode: 1, wasInCharge: false }],
  ])('is right: %s', (_, end) => {
    expect(judgeEnd(end)).toEqual([]);
  });

  it.each([
    ['without a word', { ...clean, exitCode: undefined }, '31 ended without a word'],
    ['with an error', { ...clean, exitCode: 1 }, '31 ended with 1'],
    ['with an exception', { ...clean, exitCode: 7, wasInCharge: false }, '31 ended with 7'],
  ])('is wrong: %s', (_, end, said) => {
    expect(judgeEnd(end)).toEqual([said]);
  });
});

describe('a schedule', () => {
  const right: RoundResult = {
    schedule: {
      mode: 'chain',
      seed: 7,
      workers: 1,
      steps: [{ do: 'upgrade' }, { do: 'kill', role: 'in-charge', nth: 1 }],
    },
    upgrades: { tried: 2, succeeded: 1 },
    ...{ requests: 10, excused: [], losses: [], twice: [], splits: [], left: [], wrong: [] },
    ...{ trace: ['     5  upgrade  (21)'], story: '', said: [], durationMs: 1 },
  };

  it('is right when nothing was lost, split, left or wrong', () => {
    expect(failed(right)).toBe(false);
    expect(summary([right], 7)).toMatchObject({
      isRight: true,
      failures: [],
      modes: { chain: { schedules: 1, steps: 2 } },
    });
  });

  it.each([
    ['a loss', { losses: [failure({})] }, /lost x-1 \(lost, tcp 4001\): ECONNRESET/],
    ['a split', { splits: ['21 and 22 are in charge'] }, /split: 21 and 22 are in charge/],
    ['a file left behind', { left: ['file web.sock'] }, /left: file web\.sock/],
    ['a request begun twice', { twice: ['x-1: by 21 and 22'] }, /twice: x-1/],
    ['another end', { wrong: ['21 ended with 1'] }, /21 ended with 1/],
  ])('has failed by %s, and says so with all that is needed to play it again', (_, more, said) => {
    const result = { ...right, ...more };
    expect(failed(result)).toBe(true);
    expect(explain(result, false)).toMatch(said);
    expect(explain(result, false)).toMatch(/mode chain seed 7 workers 1\n\s+upgrade\n\s+kill in-charge#1/);
    expect(summary([right, result], 7)).toMatchObject({ isRight: false, failures: [{ mode: 'chain', seed: 7 }] });
    expect(formatTable([right, result])).toMatch(/^chain +2 +4 +4 +2 +20 /m);
  });
});
