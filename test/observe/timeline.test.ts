// Handovers recorded by both processes, joined into one trace; and what the joining makes of parts that are made up.
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  criticalPath,
  hintsFor,
  joinTimeline,
  listTimelines,
  type TimelinePart,
  type TimelineSpan,
  type TraceEvent,
  toTrace,
} from '../../lib/timeline.js';
import { privateFolder } from '../engine/engine.js';
import { boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';

expectNoLeaks();
const { chain } = useApps();

/** A server with three steps, two of which the app runs in series although they do not wait for each other. */
const recorded = (directory: string, options: object = {}) =>
  boot(
    async (inside, directory, options) => {
      const warmup = (): void => (globalThis as { gc?: () => void }).gc?.();
      const warm = 'warmup' in options && { warmup };
      const handover = await inside.open({ probation: { duration: 50 }, timeline: { directory }, ...options, ...warm });
      const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
      await handover.step('config', () => wait(30));
      await Promise.all([
        handover.step('cache', () => wait(40)),
        handover.step('database', () => wait(60), { after: 'config' }),
      ]);
      const listening = await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      inside.say('listening', listening);
      await handover.ready();
    },
    directory,
    options,
  );

const only = (events: readonly TraceEvent[], ph: TraceEvent['ph'], pid?: number): TraceEvent[] =>
  events.filter((event) => event.ph === ph && (pid === undefined || event.pid === pid));
const names = (events: readonly TraceEvent[]): string[] => events.map(({ name }) => name);

/** Stretches of one thread lie in each other or apart, or no viewer draws them. */
function expectNested(events: readonly TraceEvent[]): void {
  for (const [thread, stretches] of groupByThread(events)) {
    const open: number[] = [];
    for (const { name, ts, dur = 0 } of [...stretches].sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0))) {
      while (open.length > 0 && (open.at(-1) ?? 0) <= ts) open.pop();
      expect(ts + dur, `${name} on ${thread}`).toBeLessThanOrEqual(open.at(-1) ?? Infinity);
      open.push(ts + dur);
    }
  }
}

function groupByThread(events: readonly TraceEvent[]): Map<string, TraceEvent[]> {
  const threads = new Map<string, TraceEvent[]>();
  for (const event of only(events, 'X')) {
    const thread = `${event.pid}/${event.tid}`;
    threads.set(thread, [...(threads.get(thread) ?? []), event]);
  }
  return threads;
}

it('G8: a handover of both processes in one trace, from the request to the exit of the old one', async () => {
  const directory = privateFolder();
  const { chain: processes, first } = await chain(recorded(directory));
  // A connection to move: its batch is in the trace.
  const { address } = await first.said<{ address: { port: number } }>('listening');
  await first.run(async ({ kept }, port) => {
    const { Agent, request } = process.getBuiltinModule('node:http');
    const agent = new Agent({ keepAlive: true });
    await new Promise((resolve) => {
      request({ port, host: '127.0.0.1', agent }, (response) => response.resume().once('end', resolve)).end();
    });
    kept.agent = agent;
  }, address.port);
  const { pid } = await first.upgrade();
  await first.run(({ kept }) => void (kept.agent as import('node:http').Agent).destroy());
  await first.gone();
  const second = await processes.generation(2);
  await until(() => listTimelines(directory)[0]?.parts.every((part) => part.spans.some(isLast)), {
    what: 'both parts to be whole',
  });
  await second.close();

  const trace = joinTimeline(directory);
  const { traceEvents: events, otherData } = trace;
  expect(new Set(names(only(events, 'X', first.pid)))).toEqual(
    new Set([
      ...['spawn', 'PREPARE', 'PROBATION', 'COMMIT', 'MIGRATE', 'DRAIN', 'RETIRE', 'exit'],
      ...otherData.criticalPath.map(({ name }) => name),
      'batch 1',
      ...gcNames(events, first.pid),
    ]),
  );
  expect(names(only(events, 'X', pid).filter(({ cat }) => cat === 'handover'))).toEqual([
    'Node starts',
    'modules load',
    'start',
    'ready',
    'take charge',
    'beside the predecessor',
  ]);
  expect(names(only(events, 'X', pid).filter(({ cat }) => cat === 'steps'))).toEqual(['config', 'cache', 'database']);
  expect(names(only(events, 'i', first.pid))).toEqual(
    expect.arrayContaining(['requested', '→ HELLO', '← READY', '→ COMMIT', '→ RETIRE', 'completed', 'exit']),
  );
  expect(names(only(events, 'i', pid))).toEqual(expect.arrayContaining(['listen web', '← MANIFEST', '→ READY']));
  expect(events.find(({ name, pid: at }) => name === 'batch 1' && at === first.pid)?.args).toMatchObject({
    connections: 1,
    held: 1,
    end: 'GO',
  });
  expect(only(events, 'M').filter(({ name }) => name === 'process_name')).toHaveLength(2);
  expectNested(events);
  // Arrows both ways, each from one process to the other, forward in time.
  const [leaves, arrives] = [only(events, 's'), only(events, 'f')];
  expect(leaves.map(({ pid: from }) => from)).toEqual([first.pid, pid, first.pid, pid]);
  expect(arrives.map(({ pid: to }) => to)).toEqual([pid, first.pid, pid, first.pid]);
  for (const [i, { ts }] of arrives.entries()) expect(ts).toBeGreaterThanOrEqual(leaves[i]?.ts ?? Infinity);
  // Side by side, not in one thread.
  const lanes = only(events, 'X', pid).filter(({ name }) => name === 'cache' || name === 'database');
  expect(new Set(lanes.map(({ tid }) => tid)).size).toBe(2);

  // The path has no hole, and goes through the steps the end waited for.
  const path = otherData.criticalPath;
  expect(path.map(({ name }) => name).filter((name) => name !== 'app')).toEqual([
    ...(path[0]?.name === 'checks' ? ['checks'] : []),
    'spawn',
    'Node starts',
    'modules load',
    'step config',
    'step database',
    'PROBATION',
    'COMMIT',
  ]);
  for (const [i, { startedAt, durationMs }] of path.entries()) {
    const next = path[i + 1];
    if (next) expect(startedAt + durationMs).toBeCloseTo(next.startedAt, 1);
  }
  const critical = only(events, 'X', pid).filter(({ args }) => args?.critical === true);
  expect(names(critical)).toEqual(expect.arrayContaining(['modules load', 'config', 'database']));
  expect(names(critical)).not.toContain('cache');
  expect(otherData.hints).toContainEqual(expect.stringContaining('step "cache" ran after "config"'));
  expect(trace).toEqual(JSON.parse(JSON.stringify(trace)));
});

function isLast({ name }: TimelineSpan): boolean {
  return name === 'exit' || name === '← RETIRE';
}

function gcNames(events: readonly TraceEvent[], pid: number): string[] {
  return names(only(events, 'X', pid).filter(({ cat }) => cat === 'gc'));
}

it('G8: garbage collections of both processes are in it', async () => {
  const directory = privateFolder();
  const { chain: processes, first } = await chain(recorded(directory, { warmup: true }), { execArgv: ['--expose-gc'] });
  const { pid } = await first.run(({ handover }) => {
    const upgraded = handover.upgrade();
    (globalThis as { gc?: () => void }).gc?.();
    return upgraded;
  });
  await first.gone();
  await (await processes.generation(2)).close();
  const { traceEvents } = joinTimeline(directory);
  expect(gcNames(traceEvents, first.pid)).toContain('major');
  expect(gcNames(traceEvents, pid)).toContain('major');
});

it('G8: a handover that fails is recorded by the process that serves on, and the first start is none', async () => {
  const directory = privateFolder();
  const { first } = await chain([recorded(directory), boot(() => process.exit(3))]);
  expect(readdirSync(directory)).toEqual([]);
  await first.upgrade().catch(() => {});
  const [only] = listTimelines(directory);
  expect(only?.parts.map(({ role }) => role)).toEqual(['predecessor']);
  expect(names(joinTimeline(directory, only?.handoverId).traceEvents)).toContain('failed');
  expect(() => joinTimeline(directory, 'another')).toThrow(RangeError);
  await first.close();
});

it('G5: a directory that cannot be written to ends no handover', async () => {
  const file = join(privateFolder(), 'file');
  writeFileSync(file, '');
  const { chain: processes, first } = await chain(recorded(file));
  await first.upgrade();
  const failed = await first.said<{ name: string }>('handover:hook-failed');
  expect(failed.name).toBe('timeline');
  await first.gone();
  await (await processes.generation(2)).close();
});

describe('the critical path and its hints', () => {
  const span = (track: TimelineSpan['track'], name: string, startedAt: number, durationMs?: number, args?: object) =>
    ({ track, name, startedAt, durationMs, args }) as TimelineSpan;
  const part = (role: TimelinePart['role'], spans: TimelineSpan[], more: Partial<TimelinePart> = {}): TimelinePart => ({
    version: 1,
    handoverId: 'one',
    role,
    pid: 1,
    generation: role === 'predecessor' ? 1 : 2,
    node: 'v20.0.0',
    startedAt: 110,
    bootstrappedAt: 150,
    openedAt: 450,
    hasCompileCache: false,
    spans,
    dropped: 0,
    ...more,
  });
  const old = part('predecessor', [
    span('handover', 'requested', 100),
    span('handover', 'spawn', 102, 6),
    span('handover', 'PREPARE', 108, 592),
    span('handover', 'PROBATION', 700, 100),
    span('handover', 'COMMIT', 800, 5),
  ]);
  const young = (steps: TimelineSpan[], more: Partial<TimelinePart> = {}): TimelinePart =>
    part('successor', [span('handover', 'start', 450, 250), ...steps], more);

  it('go through what the end waited for', () => {
    const steps = [
      span('steps', 'a', 460, 40, { after: [] }),
      span('steps', 'b', 460, 100, { after: [] }),
      span('steps', 'c', 560, 100, { after: ['a', 'b'] }),
    ];
    const segments = criticalPath([old, young(steps)]).map(({ name, durationMs }) => [name, durationMs]);
    expect(segments).toEqual([
      ['checks', 2],
      ['spawn', 6],
      ['Node starts', 42],
      ['modules load', 300],
      ['app', 10],
      ['step b', 100],
      ['step c', 100],
      ['app', 40],
      ['PROBATION', 100],
      ['COMMIT', 5],
    ]);
  });

  it('name independent steps in series, modules compiled anew, and a start that a standby would take out', () => {
    const steps = [span('steps', 'a', 460, 50, { after: [] }), span('steps', 'b', 511, 80, { after: [] })];
    expect(hintsFor([old, young(steps)])).toEqual([
      expect.stringContaining('"b" ran after "a", which it does not wait for'),
      expect.stringContaining('300 ms went into loading modules: NODE_COMPILE_CACHE'),
      expect.stringMatching(/^600 of 705 ms were the start of the process: a standby/),
    ]);
  });

  it('name a standby also without a probation, where the moment before COMMIT is no wait', () => {
    const plain = part('predecessor', [
      span('handover', 'requested', 100),
      span('handover', 'spawn', 102, 6),
      span('handover', 'PREPARE', 108, 592),
      span('handover', 'COMMIT', 700.3, 5),
    ]);
    expect(hintsFor([plain, young([], { hasCompileCache: true })])).toEqual([
      expect.stringMatching(/were the start of the process: a standby/),
    ]);
  });

  it('are silent where there is nothing to gain', () => {
    const steps = [span('steps', 'a', 460, 50, { after: [] }), span('steps', 'b', 511, 80, { after: ['a'] })];
    const standby = part('predecessor', [
      span('handover', 'requested', 100),
      span('handover', 'spawn', 102, 6),
      span('handover', 'COMMIT', 9_000, 5),
    ]);
    expect(hintsFor([standby, young(steps, { hasCompileCache: true })])).toEqual([]);
  });

  it('draw two processes of one number, as two containers have, apart', () => {
    const trace = toTrace([old, young([])]);
    expect(new Set(trace.traceEvents.map(({ pid }) => pid))).toEqual(new Set([1, 2]));
    expectNested(trace.traceEvents);
  });
});
