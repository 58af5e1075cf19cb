// The tables of both sides of a handover by what must be true of them, not by their rows. What they come to together is in
// generations.test.ts and test/process/lifecycle.test.ts.
import { describe, expect, it } from 'vitest';
import type { Phase } from '../../lib/events.js';
import {
  Machine,
  PREDECESSOR,
  PREDECESSOR_PHASE,
  type PredecessorState,
  SUCCESSOR,
} from '../../lib/handover/machine.js';

const STATES = Object.keys(PREDECESSOR) as PredecessorState[];

type Rows = Readonly<Record<string, Readonly<Partial<Record<string, string>>>>>;

describe.each<[string, Rows, string, readonly string[]]>([
  ['predecessor', PREDECESSOR, 'starting', ['ended', 'relieved']],
  ['successor', SUCCESSOR, 'greeting', ['ended', 'alone']],
])('%s', (_, table, first, last) => {
  const states = Object.keys(table);
  const events = [...new Set(Object.values(table).flatMap((row) => Object.keys(row)))];

  /** By all events but these. */
  function reachable(from: string, without: readonly string[] = []): string[] {
    const found = new Set([from]);
    // A Set visits what is added during the walk.
    for (const state of found) {
      for (const [event, to = ''] of Object.entries(table[state] ?? {})) if (!without.includes(event)) found.add(to);
    }
    return [...found];
  }

  it('comes to each of its states and to no other, without giving up to all but a few', () => {
    expect(reachable(first).sort()).toEqual(states.toSorted());
    const orderly = reachable(first, ['ABORT', 'EOF', 'abort', 'obtained', 'refused']);
    expect(states.filter((state) => !orderly.includes(state))).toEqual(
      table === PREDECESSOR ? ['recalling', 'relieved', 'ended'] : ['bereft', 'ended'],
    );
  });

  it('G5: can lose its peer and be given up in each state, comes to a last one from each, and never leaves that', () => {
    for (const state of states) {
      expect(table[state]).toMatchObject({ EOF: expect.any(String), abort: expect.any(String) });
      expect(reachable(state).filter((to) => last.includes(to))).not.toEqual([]);
    }
    for (const state of last) expect(reachable(state)).toEqual([state]);
  });

  it('stays where it is at a heartbeat', () => {
    const beating = states.filter((state) => 'HEARTBEAT' in (table[state] ?? {}));
    expect(beating.length).toBeGreaterThan(2);
    expect(beating.map((state) => table[state]?.HEARTBEAT)).toEqual(beating);
  });

  const pairs = states.flatMap((state) => events.map((event) => [state, event] as const));

  it.each(pairs)('%s, %s', (state, event) => {
    const entered: string[] = [];
    const machine = new Machine<string, string>(table, state, (to, from) => entered.push(`${from} → ${to}`));
    const isOwn = event === event.toLowerCase();
    const step = (): string => (isOwn ? machine.own(event) : machine.peer(event));
    const next = table[state]?.[event];
    if (next === undefined) {
      const code = isOwn ? 'ERR_HANDOVER_INTERNAL' : 'ERR_HANDOVER_PROTOCOL';
      expect(step).toThrow(
        expect.objectContaining({ code, message: expect.stringMatching(`${event} while ${state}`) }),
      );
    } else expect(step()).toBe(next);
    expect(machine.state).toBe(next ?? state);
    // Staying is no entrance.
    expect(entered).toEqual([undefined, state].includes(next) ? [] : [`${state} → ${next}`]);
  });
});

it('G5: a failure ends a handover before COMMIT, is a recall from then until RETIRE, and the arbiter decides on that', () => {
  const inPhase = (phase: Phase | undefined) => STATES.filter((state) => PREDECESSOR_PHASE[state] === phase);
  const failing = (to: string) => ({ ABORT: to, EOF: to, abort: to });
  for (const state of [...inPhase('PREPARE'), ...inPhase('PROBATION')]) {
    expect(PREDECESSOR[state]).toMatchObject(failing('ended'));
  }
  for (const state of ['committing', 'migrating', 'draining'] as const) {
    expect(PREDECESSOR[state]).toMatchObject(failing('recalling'));
  }
  for (const state of ['recalling', 'retired'] as const) {
    expect(PREDECESSOR[state]).toMatchObject({ ...failing(state), obtained: 'ended', refused: 'relieved' });
  }
  // On purpose: nobody takes anything back.
  expect([PREDECESSOR.migrating.LEFT, PREDECESSOR.draining.LEFT, PREDECESSOR.last.EOF]).toEqual([
    'last',
    'last',
    'last',
  ]);
  expect((['COMMIT', 'MIGRATE', 'DRAIN', 'RETIRE', undefined] as const).map(inPhase)).toEqual([
    ['committing'],
    ['migrating'],
    ['draining', 'last'],
    ['retired'],
    ['recalling', 'relieved', 'ended'],
  ]);
});

it('G5: a successor serves alone once it has what it inherits and its predecessor ends, and not before', () => {
  const { greeting, receiving, loading, ready, committing, serving, bereft } = SUCCESSOR;
  expect([greeting, receiving].map(({ EOF }) => EOF)).toEqual(['ended', 'ended']);
  expect([loading, ready, committing, serving].map(({ EOF }) => EOF)).toEqual(['bereft', 'bereft', 'alone', 'alone']);
  expect(bereft).toMatchObject({ obtained: 'alone', abort: 'ended' });
  expect(serving).toMatchObject({ RETIRE: 'alone', ABORT: 'ended' });
});
