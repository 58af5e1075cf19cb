// The lifecycle's table by what must be true of it, not by its rows: alone, and in every interleaving of a predecessor and
// its successor.
import { describe, expect, it } from 'vitest';
import {
  type Effect,
  LIFECYCLE,
  Lifecycle,
  type LifeEvent,
  type LifeState,
  STANDING,
  type Transition,
} from '../../lib/process/lifecycle.js';
import { figures } from '../engine/engine.js';
import { type Chances, explore, type LifeTable } from './lifecycle-model.js';

const STATES = Object.keys(LIFECYCLE) as LifeState[];
const chances: Chances = { kills: 2, closes: 1, aborts: 1, olders: 1, failures: 1 };
/** Enough to find what is broken. */
const few: Chances = { kills: 1, closes: 1, aborts: 1, olders: 1, failures: 1 };
const LONG = 120_000;

/** States that can follow, by all events but these. */
function reachable(from: LifeState, without: readonly LifeEvent[], table: LifeTable = LIFECYCLE): Set<LifeState> {
  const found = new Set([from]);
  // A Set visits what is added during the walk.
  for (const state of found) {
    for (const [event, transition] of Object.entries(table[state])) {
      if (!without.includes(event as LifeEvent)) found.add(transition.to);
    }
  }
  return found;
}

describe('the table', () => {
  it.each(STATES.filter((state) => state !== 'closed'))('leads from %s to the end, once that is asked for', (state) => {
    // Who drains or ends has nothing to give to others any more.
    const events: LifeEvent[] = STANDING[state].isOpen ? ['close', 'withdraw', 'transfer'] : ['close', 'withdraw'];
    for (const event of events) {
      const asked = LIFECYCLE[state][event]?.to;
      expect(asked, event).toBeDefined();
      const after = [...reachable(asked as LifeState, [])];
      expect(after, event).toContain('closed');
      // Nothing that happens later makes it serve on, or leaves it where it is.
      expect(
        after.filter((later) => STANDING[later].isOpen),
        event,
      ).toEqual([]);
      expect(
        after.filter((later) => !reachable(later, []).has('closed')),
        event,
      ).toEqual([]);
    }
  });

  it('G5: lets a process take back from its first step down until RETIRE, and never after', () => {
    const given = reachable('steppingDown', ['takeBack', 'retired', 'relieved', 'ended']);
    expect([...given].filter((state) => LIFECYCLE[state].takeBack === undefined)).toEqual([]);
    const over = reachable('retired', []);
    expect([...over].filter((state) => LIFECYCLE[state].takeBack !== undefined)).toEqual([]);
  });

  it('never leaves the last state, and has nobody in charge who ends', () => {
    expect([...reachable('closed', [])]).toEqual(['closed']);
    for (const { isInCharge, isOpen, handsOver, resigns } of Object.values(STANDING)) {
      expect(isOpen || !(isInCharge || handsOver)).toBe(true);
      expect(isOpen && resigns).toBe(false);
    }
  });

  it('refuses an event that may not happen, and counts the changes of state', () => {
    const life = new Lifecycle();
    expect(() => life.step('takeBack')).toThrow(
      expect.objectContaining({
        code: 'ERR_HANDOVER_INTERNAL',
        message: 'the event takeBack came while this process is loading',
      }),
    );
    life.step('alone');
    expect([life.changes, life.standing.phase]).toEqual([0, 'loading']);
    life.step('ready');
    expect([life.changes, life.standing.phase]).toEqual([1, 'ready']);
  });
});

describe('G4, G5: whoever ends, fails or dies, and whenever', () => {
  it('of a predecessor and its successor exactly one is in charge', { timeout: LONG }, () => {
    const start = performance.now();
    const { worlds, finding } = explore(LIFECYCLE, chances);
    figures(`two lives: ${worlds} worlds in ${Math.round(performance.now() - start)} ms`);
    expect(finding).toBeUndefined();
    expect(worlds).toBeGreaterThan(50_000);
  });
});

describe('what the model finds', () => {
  const { steppingDown, draining, recalling, closing, serving, takingCharge } = LIFECYCLE;
  const broken: readonly [string, Partial<LifeTable>, RegExp][] = [
    [
      'two in charge, where the role is not given up',
      { serving: { ...serving, stepDown: without(serving.stepDown, 'yieldRole') } },
      /^A and B are in charge$/,
    ],
    [
      'nobody in charge, where the role is not taken back',
      { draining: { ...draining, takeBack: without(draining.takeBack, 'takeRoleAnyhow') } },
      /^(nobody is in charge|A serves, and is not in charge)/,
    ],
    [
      'nobody in charge, where a charge is not taken',
      { takingCharge: { ...takingCharge, tookCharge: undefined as never } },
      /^tookCharge while B is takingCharge$/,
    ],
    [
      'a charge that cannot be taken',
      { takingCharge: { ...takingCharge, failed: undefined as never } },
      /^failed while B is takingCharge$/,
    ],
    [
      'no way back before RETIRE',
      { draining: { ...draining, takeBack: undefined as never } },
      /^A may not take back while draining, before RETIRE$/,
    ],
    [
      'a process that never ends',
      { draining: { ...draining, retired: { ...draining.retired, next: undefined } as never } },
      /^A stays retired for ever$/,
    ],
    [
      'one that ends, and is overtaken by its successor',
      { closing: { ...closing, superseded: undefined as never } },
      /^superseded while A is closing$/,
    ],
    [
      'a successor that ends in the moment in which it is in charge',
      { steppingDown: { ...steppingDown, letGo: undefined as never } },
      /^letGo while A is steppingDown$/,
    ],
    [
      'listeners that are closed in a process that serves on',
      { recalling: { ...recalling, takenBack: { to: 'serving', effects: ['closeLeavingPaths'] } } },
      /^A serves without listeners$/,
    ],
  ];

  it.each(broken)('%s', { timeout: LONG }, (_, rows, what) => {
    const { finding } = explore({ ...LIFECYCLE, ...rows }, few);
    expect(finding?.what).toMatch(what);
  });
});

function without(
  { to, effects, next }: Transition | undefined = { to: 'closed', effects: [] },
  left: Effect,
): Transition {
  return { to, effects: effects.filter((effect) => effect !== left), next };
}
