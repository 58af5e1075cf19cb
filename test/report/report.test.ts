// `handover report` and `handover hammer --report`: pages of real runs, the gate against a baseline both ways, malformed data.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Compared } from '../../lib/report/comparison.js';
import { handover, jsonOf } from '../cli/command.js';
import { privateFolder } from '../engine/engine.js';
import { listen, runForPeople, runHammer } from '../hammer/helpers.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { hammerHandovers, type MadeRun, madeRun } from './runs.js';

expectNoLeaks();
const programs = usePrograms();

const saved = (lines: readonly object[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('');
const named = (compared: readonly Compared[], metric: string): Compared | undefined =>
  compared.find((one) => one.metric === metric);

/** Compares two runs that are made up. */
async function compare(base: MadeRun, current: MadeRun, ...more: string[]) {
  const folder = privateFolder();
  const [old, data] = [join(folder, 'old.json'), join(folder, 'data.json')];
  writeFileSync(old, madeRun(base));
  writeFileSync(data, madeRun(current));
  const ended = await handover(['report', data, '--baseline', old, '--json', ...more]);
  const { compared = [], differences = [] } = (jsonOf(ended)[0] ?? {}) as {
    compared?: Compared[];
    differences?: string[];
  };
  return { ...ended, compared, differences };
}

it('a run through handovers: the page, the data it can be made of again, and the documented last line', async () => {
  const folder = privateFolder();
  const [page, directory] = [join(folder, 'out.html'), join(folder, 'timelines')];
  const { code, lines } = await hammerHandovers(programs, directory, '--report', page, '--sla', '99');
  expect({ code, report: lines.at(-3) }).toMatchObject({ code: 0 });
  const [report, details, result] = lines.slice(-3) as Record<string, never>[];
  expect(Object.keys(result ?? {})).toEqual([
    ...['requests', 'lostBy', 'connections', 'latencyMs', 'longestGapMs', 'switches'],
  ]);
  expect(report).toMatchObject({ type: 'report', path: page, verdict: 'GO', exitCode: 0 });
  expect(details).toMatchObject({ switchGapsMs: [expect.any(Number), expect.any(Number)] });
  const text = readFileSync(page, 'utf8');
  expect(text.length).toBeLessThan(300_000);
  expect(text).toMatch(/<strong class="good">GO<\/strong> for 99 %/);
  // What the app calls its steps is text, also where it looks like the end of a script.
  expect(text).not.toContain('<b>database');
  expect(text).toContain('step &quot;&lt;/script&gt;&lt;b&gt;database&quot; ran after &quot;cache&quot;');

  const data = join(folder, 'data.json');
  writeFileSync(data, saved(lines));
  const ended = await handover(['report', data, '--timeline', directory, '--sla', '99']);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toMatch(/^verdict +GO for 99 %\n/);
  expect(ended.stdout).toContain(`report       ${join(folder, 'data.html')}\n`);
  expect(existsSync(join(folder, 'data.html'))).toBe(true);

  // The ticks add up to the result, and the connections are followed across both switches.
  type Line = { type?: string; ok: number; opened: number; closed: number; latencyCounts: Record<string, number> };
  const ticks = (lines as Line[]).filter(({ type }) => type === 'tick');
  const sum = (of: (tick: Line) => number): number => ticks.reduce((all, tick) => all + of(tick), 0);
  const { requests, connections, switches } = result as unknown as {
    requests: { ok: number };
    connections: { opened: number };
    switches: { from: string; to: string }[];
  };
  expect(sum(({ ok }) => ok)).toBe(requests.ok);
  expect(sum(({ latencyCounts }) => Object.values(latencyCounts).reduce((a, b) => a + b, 0))).toBe(requests.ok);
  expect([sum(({ opened }) => opened), sum(({ closed }) => closed)]).toEqual([connections.opened, connections.opened]);
  const fates = (details as unknown as { fates: { from: string; to: string | null; connections: number }[] }).fates;
  for (const { from, to } of switches) {
    // Six keep-alive clients and two idle ones, on connections of their own.
    expect(fates).toContainEqual({ from, to, connections: 8 });
  }
  expect(fates.filter(({ to }) => to === null)).toEqual([]);
}, 60_000);

it('a connection the server closes is told by the process that had it', async () => {
  let count = 0;
  const server = createServer((_, response) => {
    count++;
    response
      .setHeader('x-pid', 'only')
      .setHeader('connection', count % 5 === 0 ? 'close' : 'keep-alive')
      .end();
  });
  const url = `http://127.0.0.1:${await listen(server)}/`;
  const { details } = await runHammer(
    programs,
    url,
    '--requests',
    '50',
    '--connections',
    '1',
    '--identify',
    'header:x-pid',
  );
  expect(details.fates).toEqual([{ from: 'only', to: null, connections: 10 }]);
});

describe('the gate against a baseline', () => {
  it('real runs: slower is 1, faster is 0, both with their intervals', async () => {
    const folder = privateFolder();
    const files = { fast: join(folder, 'fast.json'), slow: join(folder, 'slow.json') };
    for (const [name, wait] of [
      ['fast', 2],
      ['slow', 20],
    ] as const) {
      const url = `http://127.0.0.1:${await listen(createServer((_, response) => setTimeout(() => response.end(), wait)))}/`;
      const { lines } = await runHammer(programs, url, '--connections', '4', '--duration', '4s');
      writeFileSync(files[name], saved(lines));
    }
    const worse = await handover(['report', files.slow, '--baseline', files.fast]);
    expect(worse.code).toBe(1);
    expect(worse.stdout).toMatch(/^worse +requests: .*, -\d/m);
    expect(worse.stdout).toMatch(/^worse +latency p50: /m);
    const better = await handover(['report', files.fast, '--baseline', files.slow, '--json']);
    expect(better.code).toBe(0);
    const { compared } = jsonOf(better)[0] as unknown as { compared: Compared[] };
    const requests = named(compared, 'requests');
    expect(requests).toMatchObject({ judgement: 'better', unit: '/s' });
    expect(requests?.interval?.low).toBeGreaterThan(2);
    expect(requests?.interval?.low).toBeLessThan(requests?.ratio ?? 0);
    expect(requests?.interval?.high).toBeGreaterThan(requests?.ratio ?? Number.POSITIVE_INFINITY);
  });

  it('a run against itself: nothing is worse', async () => {
    const { code, compared } = await compare({}, {});
    expect(code).toBe(0);
    expect(compared.filter(({ judgement }) => judgement === 'worse' || judgement === 'better')).toEqual([]);
    expect(named(compared, 'latency p50')?.interval?.low).toBeLessThanOrEqual(1);
    expect(named(compared, 'latency max')).toMatchObject({ judgement: 'unknown', interval: null });
  });

  it('a change within the tolerance is none; --tolerance decides', async () => {
    const slower: MadeRun = {
      ticks: Array.from({ length: 40 }, () => ({ ok: 950 })),
      details: { requestsPerSecond: 3_800 },
    };
    const { code, compared } = await compare({}, slower);
    expect(code).toBe(0);
    expect(named(compared, 'requests')).toMatchObject({
      judgement: 'same',
      ratio: 0.95,
      note: expect.stringMatching(/10 %/),
    });
    expect((await compare({}, slower, '--tolerance', '2')).code).toBe(1);
    const waiting: MadeRun = {
      ticks: Array.from({ length: 40 }, () => ({ latencyCounts: { 160: 490, 166: 500, 177: 10 } })),
      result: { latencyMs: { p50: 1.044, p99: 2, max: 5 } },
    };
    const later = await compare({}, waiting);
    expect(later.code).toBe(0);
    expect(named(later.compared, 'latency p50')).toMatchObject({
      judgement: 'same',
      note: expect.stringMatching(/10 %/),
    });
    expect((await compare({}, waiting, '--tolerance', '1')).code).toBe(1);
  });

  it('the first lost request is worse; one more or less of many is not', async () => {
    const losing = (lost: number): MadeRun => ({ result: { requests: { ok: 40_000 - lost, lost } } });
    const first = await compare({}, losing(1));
    expect(first.code).toBe(1);
    expect(named(first.compared, 'lost requests')).toMatchObject({
      judgement: 'worse',
      baseline: 0,
      current: 1,
      note: 'the baseline lost none',
      interval: { high: null },
    });
    expect((await compare(losing(20), losing(21))).code).toBe(0);
    expect((await compare(losing(20), losing(60))).code).toBe(1);
    expect((await compare(losing(60), losing(20))).code).toBe(0);
  });

  it('switches are compared from five on', async () => {
    const switching = (times: readonly number[]): MadeRun => ({
      details: { switchGapsMs: times.map(() => 5) },
      result: {
        switches: times.map((time, index) => ({
          from: `${index}`,
          to: `${index + 1}`,
          atMs: 1_000 * (index + 1),
          triggeredAtMs: 1_000 * (index + 1) - time,
          triggerToFirstAnswerMs: time,
          overlapMs: 1,
        })),
      },
    });
    const [quick, slow] = [
      [100, 101, 103, 99, 98],
      [200, 210, 190, 205, 199],
    ];
    const metric = 'trigger to first answer, median';
    const ended = await compare(switching(quick), switching(slow));
    expect(named(ended.compared, metric)).toMatchObject({ judgement: 'worse', baseline: 100, current: 200 });
    expect(ended.code).toBe(1);
    const few = await compare(switching(quick.slice(1)), switching(slow));
    expect(named(few.compared, metric)).toMatchObject({
      judgement: 'unknown',
      note: expect.stringMatching(/fewer than 5/),
    });
    expect(few.code).toBe(0);
  });

  it('says what makes the two hard to compare', async () => {
    const { differences } = await compare({}, { details: { rate: 100, loop: 'open' } });
    expect(differences).toEqual(['loop: closed in the baseline, open now', 'rate: none in the baseline, 100 now']);
  });

  it('of hammer itself: exit code 1, and the result is still the last line', async () => {
    const old = join(privateFolder(), 'old.json');
    writeFileSync(old, madeRun());
    const url = `http://127.0.0.1:${await listen(createServer((_, response) => response.end()))}/`;
    const { code, lines, result } = await runHammer(
      programs,
      url,
      '--rate',
      '20',
      '--duration',
      '3500ms',
      '--baseline',
      old,
    );
    expect(code).toBe(1);
    expect(lines.at(-3)).toMatchObject({ type: 'report', exitCode: 1 });
    expect(result.requests.lost).toBe(0);
  });
});

describe('malformed data ends with 2, and names file, line and what was expected', () => {
  const good = madeRun().split('\n');
  const changed = (index: number, change: (line: Record<string, unknown>) => object): string =>
    good
      .map((line, at) => (at === index ? JSON.stringify(change(JSON.parse(line) as Record<string, unknown>)) : line))
      .join('\n');
  it.each([
    ['no JSON', 'requests 10\n', /:1: no object of JSON: requests 10; expected what `handover hammer --json` prints/],
    ['a number', '7\n', /:1: no object of JSON/],
    ['an empty file', '', /the file ends without a line \{"type":"details"\}/],
    ['a run that was cut off', good.slice(0, 7).join('\n'), /:7: the file ends without a line/],
    ['no result', good.slice(0, 41).join('\n'), /:41: the file ends without the result as the last line/],
    ['a field that is missing', changed(2, ({ coversMs: _, ...tick }) => tick), /:3: tick\.coversMs is not a number/],
    [
      'a text for a count',
      changed(4, (tick) => ({ ...tick, ok: 'many' })),
      /:5: tick\.ok is not a non-negative integer/,
    ],
    ['details of nothing', changed(40, (line) => ({ ...line, fates: 3 })), /:41: details\.fates is not a list/],
    ['another object at the end', changed(41, () => ({ ok: true })), /:42: result\.requests is not an object/],
    ['a line of another kind', changed(1, () => ({ type: 'phase' })), /:2: a line of type "phase" is none of a run/],
    ['two runs in one', [...good, ...good].join('\n'), /:44: there is a line behind the result/],
  ])('%s', async (_, text, complaint) => {
    const folder = privateFolder();
    const data = join(folder, 'data.json');
    writeFileSync(data, text);
    const { code, stdout, stderr } = await handover(['report', data]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr.startsWith(data)).toBe(true);
    expect(stderr).toMatch(complaint);
    expect(existsSync(join(folder, 'data.html'))).toBe(false);
  });

  it('a baseline, and before hammer sends anything', async () => {
    const old = join(privateFolder(), 'old.json');
    writeFileSync(old, '{}\n');
    const { code, stderr } = await runForPeople(programs, 'http://127.0.0.1:1/', '--baseline', old);
    expect(code).toBe(2);
    expect(stderr).toContain(`${old}:1: result.requests is not an object`);
  });

  it.each([
    [[], /one file that handover hammer --json has printed/],
    [['a.json', 'b.json'], /one file/],
    [['no-such-file.json'], /no-such-file\.json cannot be read: ENOENT/],
    [['a.json', '--sla', '95'], /--sla 95: 99, 99\.9 or 99\.99/],
    [['a.json', '--tolerance', '5'], /--tolerance needs --baseline/],
    [['a.json', '--baseline', 'x', '--tolerance', '-5x'], /--tolerance/],
  ])('%j is a wrong usage', async (args, complaint) => {
    const { code, stderr } = await handover(['report', ...args]);
    expect(code).toBe(2);
    expect(stderr).toMatch(complaint);
  });

  it('a directory of timelines that is not there', async () => {
    const data = join(privateFolder(), 'data.json');
    writeFileSync(data, madeRun());
    const { code, stderr } = await handover(['report', data, '--timeline', join(data, 'none')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--timeline .*none cannot be read: ENOTDIR/);
  });
});
