// Both state machines against a table written out by hand: every event in every state.
import { describe, expect, it } from 'vitest';
import { Machine, PREDECESSOR, PREDECESSOR_PHASE, SUCCESSOR } from '../../lib/handover/machine.js';

/** What follows each event; an event that is not here may not happen in that state. */
type Expected = Readonly<Record<string, Readonly<Record<string, string>>>>;

const PREDECESSOR_EVENTS =
  'HELLO CLAIMED READY HEARTBEAT COMMITTED HELD ABORT LEFT EOF watch commit migrated drained abort obtained refused'.split(
    ' ',
  );

const predecessor: Expected = {
  starting: { HELLO: 'offered', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  offered: { CLAIMED: 'claimed', HEARTBEAT: 'offered', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  claimed: { READY: 'ready', HEARTBEAT: 'claimed', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  ready: {
    watch: 'probation',
    commit: 'committing',
    HEARTBEAT: 'ready',
    ABORT: 'ended',
    EOF: 'ended',
    abort: 'ended',
  },
  probation: { commit: 'committing', HEARTBEAT: 'probation', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  committing: {
    COMMITTED: 'migrating',
    HEARTBEAT: 'committing',
    ABORT: 'recalling',
    EOF: 'recalling',
    abort: 'recalling',
  },
  migrating: {
    HELD: 'migrating',
    migrated: 'draining',
    LEFT: 'last',
    HEARTBEAT: 'migrating',
    ABORT: 'recalling',
    EOF: 'recalling',
    abort: 'recalling',
  },
  draining: {
    drained: 'retired',
    HELD: 'draining',
    LEFT: 'last',
    HEARTBEAT: 'draining',
    ABORT: 'recalling',
    EOF: 'recalling',
    abort: 'recalling',
  },
  last: { migrated: 'last', drained: 'retired', EOF: 'last', abort: 'last' },
  retired: {
    HEARTBEAT: 'retired',
    LEFT: 'retired',
    ABORT: 'retired',
    EOF: 'retired',
    abort: 'retired',
    obtained: 'ended',
    refused: 'relieved',
  },
  recalling: {
    HELLO: 'recalling',
    CLAIMED: 'recalling',
    READY: 'recalling',
    HEARTBEAT: 'recalling',
    COMMITTED: 'recalling',
    HELD: 'recalling',
    LEFT: 'recalling',
    ABORT: 'recalling',
    EOF: 'recalling',
    abort: 'recalling',
    obtained: 'ended',
    refused: 'relieved',
  },
  relieved: {
    HELLO: 'relieved',
    CLAIMED: 'relieved',
    READY: 'relieved',
    HEARTBEAT: 'relieved',
    COMMITTED: 'relieved',
    HELD: 'relieved',
    LEFT: 'relieved',
    ABORT: 'relieved',
    EOF: 'relieved',
    abort: 'relieved',
  },
  ended: {
    HELLO: 'ended',
    CLAIMED: 'ended',
    READY: 'ended',
    HEARTBEAT: 'ended',
    COMMITTED: 'ended',
    HELD: 'ended',
    LEFT: 'ended',
    ABORT: 'ended',
    EOF: 'ended',
    abort: 'ended',
  },
};

const SUCCESSOR_EVENTS =
  'HELLO MANIFEST MORE COMMIT OFFER GO HEARTBEAT ABORT RETIRE EOF ready committed abort obtained'.split(' ');

const successor: Expected = {
  greeting: { HELLO: 'receiving', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  receiving: { MORE: 'receiving', MANIFEST: 'loading', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  loading: { ready: 'ready', ABORT: 'ended', EOF: 'bereft', abort: 'ended' },
  ready: { MORE: 'ready', COMMIT: 'committing', ABORT: 'ended', EOF: 'bereft', abort: 'ended' },
  bereft: { ready: 'bereft', EOF: 'bereft', obtained: 'alone', abort: 'ended' },
  committing: { committed: 'serving', HEARTBEAT: 'committing', ABORT: 'ended', EOF: 'alone', abort: 'ended' },
  serving: {
    OFFER: 'serving',
    GO: 'serving',
    HEARTBEAT: 'serving',
    RETIRE: 'alone',
    ABORT: 'ended',
    EOF: 'alone',
    abort: 'ended',
  },
  alone: { ready: 'alone', committed: 'alone', EOF: 'alone', abort: 'alone' },
  ended: {
    MANIFEST: 'ended',
    MORE: 'ended',
    COMMIT: 'ended',
    OFFER: 'ended',
    GO: 'ended',
    HEARTBEAT: 'ended',
    RETIRE: 'ended',
    ABORT: 'ended',
    EOF: 'ended',
    committed: 'ended',
    abort: 'ended',
  },
};

/** The arbiter has the last word over a successor that died in the very moment it was to be left alone. */
const FINAL = ['ended', 'relieved', 'alone'];
/** Where giving up is not ending: the charge is taken back first, or a dead predecessor's is claimed. */
const DECIDING = ['committing', 'migrating', 'draining', 'recalling', 'retired', 'bereft', 'last'];

describe.each([
  ['predecessor', PREDECESSOR, predecessor, PREDECESSOR_EVENTS],
  ['successor', SUCCESSOR, successor, SUCCESSOR_EVENTS],
] as const)('%s', (_, table, expected, events) => {
  const machineIn = (state: string, entered: string[] = []) =>
    new Machine<string, string>(table, state, (to, from) => entered.push(`${from} → ${to}`));

  it('has these states and no others, and no event beyond these', () => {
    expect(Object.keys(table).sort()).toEqual(Object.keys(expected).sort());
    const known = new Set<string>(events);
    for (const transitions of Object.values(table)) {
      expect(Object.keys(transitions).filter((event) => !known.has(event))).toEqual([]);
    }
  });

  const pairs = Object.keys(expected).flatMap((state) => events.map((event) => [state, event] as const));

  it.each(pairs)('%s, %s', (state, event) => {
    const entered: string[] = [];
    const next = expected[state]?.[event];
    const own = event === event.toLowerCase();
    const machine = machineIn(state, entered);
    const step = (): string => (own ? machine.own(event) : machine.peer(event));
    if (next === undefined) {
      const code = own ? 'ERR_HANDOVER_INTERNAL' : 'ERR_HANDOVER_PROTOCOL';
      expect(step).toThrow(
        expect.objectContaining({ code, message: expect.stringMatching(`${event} while ${state}`) }),
      );
      expect(machine.state).toBe(state);
      expect(entered).toEqual([]);
      return;
    }
    expect(step()).toBe(next);
    expect(machine.state).toBe(next);
    // Staying is no entrance.
    expect(entered).toEqual(next === state ? [] : [`${state} → ${next}`]);
  });

  it('G5: from every state but the last ones both sides can end it, and it never leaves the last ones', () => {
    for (const [state, transitions] of Object.entries(expected)) {
      expect(transitions).toHaveProperty('abort');
      expect(transitions).toHaveProperty('EOF');
      if (FINAL.includes(state)) expect(new Set(Object.values(transitions))).toEqual(new Set([state]));
      else if (!DECIDING.includes(state)) expect(transitions).toMatchObject({ ABORT: 'ended', abort: 'ended' });
    }
  });
});

it('the phase of each state of the predecessor', () => {
  expect(PREDECESSOR_PHASE).toEqual({
    starting: 'PREPARE',
    offered: 'PREPARE',
    claimed: 'PREPARE',
    ready: 'PREPARE',
    probation: 'PROBATION',
    committing: 'COMMIT',
    migrating: 'MIGRATE',
    draining: 'DRAIN',
    last: 'DRAIN',
    retired: 'RETIRE',
    recalling: undefined,
    relieved: undefined,
    ended: undefined,
  });
});
