// What the recorder writes down of events that come in an order the tests of whole handovers cannot time: deaths, gifts
// that are never over, clocks that are set, disks that are full.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type HandoverEvents, publish } from '../../lib/events.js';
import { recordTimeline } from '../../lib/observe/timeline-recorder.js';
import { joinTimeline, listTimelines, type TimelinePart } from '../../lib/timeline.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();
afterEach(() => void vi.restoreAllMocks());

const ONE = 'one';

const requested = (): void =>
  publish('requested', { handoverId: ONE, generation: 1, requester: { by: 'app' }, profile: undefined });
const phase = (name: HandoverEvents['phase']['phase']): void =>
  publish('phase', { handoverId: ONE, phase: name, role: 'predecessor', generation: 1 });
const frame = (name: string, direction: 'sent' | 'received', role: 'predecessor' | 'successor'): void =>
  publish('frame', {
    ...{ name, direction, role, batch: undefined, connections: undefined },
    handoverId: name === 'HELLO' ? ONE : undefined,
  });
const outcome = (role: 'predecessor' | 'successor', result: HandoverEvents['outcome']['result']): void =>
  publish('outcome', {
    ...{ handoverId: ONE, generation: 1, result, code: undefined, durationMs: 1, phases: [], role, phase: undefined },
    ...{ moved: 0, ended: 0, cut: 0, lost: undefined, requester: undefined, from: undefined, to: undefined },
    ...{ successorPid: undefined, isFirstHand: true },
  });
const inCharge = (handoverId?: string): void =>
  publish('in-charge', { handoverId, generation: 2, claimed: [], unclaimed: [] });
const loop = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const partsIn = (directory: string): readonly TimelinePart[] => listTimelines(directory)[0]?.parts ?? [];
const stretches = (part: TimelinePart | undefined): string[] =>
  part?.spans
    .filter(({ track, durationMs }) => track === 'handover' && durationMs !== undefined)
    .map(({ name }) => name) ?? [];

it('G8: a successor that gives up writes down what it saw', () => {
  const directory = privateFolder();
  const stop = recordTimeline(directory, 0);
  frame('HELLO', 'received', 'successor');
  stop();
  expect(partsIn(directory).map(({ role }) => role)).toEqual(['successor']);
});

it('a process that begins a chain and ends leaves nothing', () => {
  const directory = privateFolder();
  recordTimeline(directory, 0)();
  expect(readdirSync(directory)).toEqual([]);
});

it('collections and frames have a limit, phases and steps have none', () => {
  const directory = privateFolder();
  const stop = recordTimeline(directory, 0);
  inCharge();
  requested();
  for (let i = 0; i < 20_010; i++) frame('REPORT', 'sent', 'predecessor');
  phase('DRAIN');
  outcome('predecessor', 'failed');
  stop();
  const [part] = partsIn(directory);
  expect(part?.spans.map(({ name }) => name)).toEqual(expect.arrayContaining(['DRAIN', 'failed']));
  expect(part?.dropped).toBeGreaterThanOrEqual(10);
  expect(part?.spans.length).toBeLessThan(20_010);
});

it('G8: a start whose predecessor dies is recorded until it is in charge', async () => {
  const directory = privateFolder();
  const stop = recordTimeline(directory, 0);
  frame('HELLO', 'received', 'successor');
  outcome('successor', 'predecessor-lost');
  publish('step', { name: 'cache', after: [], startedAt: Date.now(), durationMs: 1, hasFailed: false });
  inCharge(ONE);
  await loop();
  const [part] = partsIn(directory);
  const names = part?.spans.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['predecessor-lost', 'cache', 'in charge']));
  expect(part?.generation).toBe(2);
  // It is over: nothing of later is in it.
  publish('step', { name: 'late', after: [], startedAt: Date.now(), durationMs: 1, hasFailed: false });
  stop();
  expect(partsIn(directory)[0]?.spans.map(({ name }) => name)).toEqual(names);
});

it('G8: so is one whose predecessor dies later', async () => {
  const directory = privateFolder();
  const stop = recordTimeline(directory, 0);
  frame('HELLO', 'received', 'successor');
  frame('READY', 'sent', 'successor');
  frame('COMMIT', 'received', 'successor');
  inCharge(ONE);
  frame('COMMITTED', 'sent', 'successor');
  outcome('successor', 'predecessor-lost');
  expect(stretches(partsIn(directory)[0])).toEqual(['start', 'ready', 'take charge', 'beside the predecessor']);
  await loop();
  stop();
});

it('G8: times are those of the clock as it is when the handover begins', () => {
  const directory = privateFolder();
  const stop = recordTimeline(directory, 0);
  inCharge();
  // Set since the process began, as after a suspension.
  const { now } = Date;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000);
  requested();
  publish('spawn', { handoverId: ONE, pid: 7, startedAt: Date.now() - 5, durationMs: 5 });
  phase('PREPARE');
  outcome('predecessor', 'failed');
  stop();
  const [part] = partsIn(directory);
  expect(part?.spans.filter(({ track }) => track !== 'gc').map(({ name }) => name)).toEqual([
    'requested',
    'spawn',
    'failed',
    'PREPARE',
  ]);
  for (const { startedAt, track } of part?.spans ?? []) {
    if (track !== 'gc') expect(Math.abs(startedAt - Date.now())).toBeLessThan(10_000);
  }
});

it('nothing is written while a process takes charge: whoever waits for COMMITTED waits for a disk otherwise', async () => {
  const directory = privateFolder();
  const stop = recordTimeline(directory, 0);
  frame('HELLO', 'received', 'successor');
  inCharge(ONE);
  expect(readdirSync(directory)).toEqual([]);
  await loop();
  expect(readdirSync(directory)).toEqual(['one.successor.json']);
  stop();
});

describe('a directory', () => {
  it('keeps nothing of a part that could not be written', () => {
    const directory = privateFolder();
    // The name is taken by what no file can replace.
    mkdirSync(join(directory, 'one.predecessor.json', 'inside'), { recursive: true });
    const stop = recordTimeline(directory, 0);
    requested();
    outcome('predecessor', 'failed');
    stop();
    expect(readdirSync(directory)).toEqual(['one.predecessor.json']);
  });

  it('with damaged files still has the others', () => {
    const directory = privateFolder();
    const stop = recordTimeline(directory, 0);
    requested();
    outcome('predecessor', 'failed');
    stop();
    const whole = readFileSync(join(directory, 'one.predecessor.json'), 'utf8');
    for (const [name, text] of Object.entries({ half: whole.slice(0, 40), empty: '', null: 'null', other: '{}' })) {
      writeFileSync(join(directory, `${name}.successor.json`), text);
    }
    expect(listTimelines(directory).map(({ handoverId }) => handoverId)).toEqual([ONE]);
    expect(joinTimeline(directory).otherData.handoverId).toBe(ONE);
    expect(() => joinTimeline(directory, 'half')).toThrow(RangeError);
  });
});
