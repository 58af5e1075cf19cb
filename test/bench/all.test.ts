// `npm run bench` of several: one that fails is named and the others go on, what they found is written as JSON and as a page,
// and nothing is left behind. Figures are not judged here.
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { pageOf, type Run } from '../../bench/all/page.js';
import { type Ended, runSuite, type SuiteOptions } from '../../bench/all/suite.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { identify, processesMarked } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { findTool, needs } from '../migration/tools.js';

expectNoLeaks();
const programs = usePrograms();

const BENCH = new URL('../../bench/index.ts', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSX = import.meta.resolve('tsx');
const PRETENDS = fileURLToPath(new URL('fixtures/pretends.mjs', import.meta.url));
const RUN_TIMEOUT = 90_000;
const executablePath = findTool('chromium');
interface Data {
  readonly benches: readonly { readonly name: string; readonly failure?: string; readonly rows?: readonly object[] }[];
}

/** Started with a folder for its own files, and one for its results. */
function start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const [out, temporary] = [temporaryFolder(), temporaryFolder()];
  const all = ['--quick', '--rounds', '1', '--out', out, ...args];
  const options = { args: all, execArgv: ['--import', TSX], cwd: ROOT, env: { TMPDIR: temporary, ...env } };
  const program = programs.start(BENCH, options);
  const left = (): string[] => readdirSync(temporary).filter((name) => name.startsWith('handover-'));
  const written = (): { readonly json: Data; readonly html: string } => {
    const [html = '', json = ''] = readdirSync(out).sort();
    expect([html, json]).toEqual([expect.stringMatching(/^\d{4}-.*\.html$/), expect.stringMatching(/\.json$/)]);
    return { json: JSON.parse(readFileSync(join(out, json), 'utf8')) as Data, html: join(out, html) };
  };
  return { program, left, written };
}

describe.runIf(process.platform === 'linux')('bench of several', () => {
  it(
    'measures one after the other, and writes JSON and a page',
    async () => {
      const { program, left, written } = start(['hammer', 'fd', '--json']);
      expect(await program.exit(RUN_TIMEOUT)).toEqual({ code: 0, signal: null });
      await program.closed;
      expect(program.stderr).toMatch(/\[1\/2\] hammer/);
      const { json, html } = written();
      expect(program.stdout).toContain(`wrote ${html}`);
      expect(JSON.parse(program.stdout.trimEnd().split('\n').at(-1) ?? '')).toEqual(json);
      expect(json).toMatchObject({ quick: true, node: process.version.slice(1), version: expect.any(String) });
      expect(json.benches).toEqual(
        ['hammer', 'fd'].map((name) =>
          expect.objectContaining({ name, rounds: 1, rows: expect.any(Array), expectations: expect.any(Array) }),
        ),
      );
      expect(readFileSync(html, 'utf8')).toContain('requests/s against one Node server');
      expect(left()).toEqual([]);
    },
    RUN_TIMEOUT + 5_000,
  );

  it(
    'names the one that fails, goes on with the others, and exits with 1',
    async () => {
      // No addon: nothing passes a descriptor, but the load client needs none.
      const { program, left, written } = start(['fd', 'hammer'], { HANDOVER_PREBUILD: '/nowhere' });
      expect(await program.exit(RUN_TIMEOUT)).toEqual({ code: 1, signal: null });
      await program.closed;
      expect(program.stdout).toMatch(/^failed: fd$/m);
      const { json, html } = written();
      expect(json.benches).toEqual([
        { name: 'fd', elapsedMs: expect.any(Number), failure: expect.stringContaining('handover ended during') },
        expect.objectContaining({ name: 'hammer', rows: expect.any(Array) }),
      ]);
      expect(readFileSync(html, 'utf8')).toContain('failed: Error: handover ended during');
      expect(left()).toEqual([]);
    },
    RUN_TIMEOUT + 5_000,
  );

  it(
    'told to end, it ends the one that runs, begins no other, and writes what there is',
    async () => {
      const { program, left, written } = start(['rebind', 'fd', '--rounds', '1000']);
      // A line now and then: each says where it is.
      await program.errorLine(/\[1\/2\] rebind: round \d+ of 1000/, RUN_TIMEOUT);
      // As npm delivers one Ctrl-C.
      program.child.kill('SIGINT');
      await pause(200);
      expect(await program.stop('SIGINT', RUN_TIMEOUT)).toEqual({ code: 1, signal: null });
      await program.closed;
      expect(written().json.benches).toMatchObject([{ name: 'rebind', failure: 'interrupted' }]);
      expect(left()).toEqual([]);
    },
    RUN_TIMEOUT + 5_000,
  );
});

/** The pretending ones, and the milliseconds one may take. */
async function pretend(names: readonly string[], limit = RUN_TIMEOUT): Promise<{ all: Ended[]; said: string[] }> {
  const said: string[] = [];
  const ended: string[] = [];
  const options: SuiteOptions = {
    names,
    command: (name) => [PRETENDS, name],
    limit: () => limit,
    progress: (text) => said.push(text),
    ended: ({ name }) => ended.push(name),
    signal: new AbortController().signal,
  };
  const all = await runSuite(options);
  expect(ended).toEqual(names);
  return { all, said };
}

describe('a run', () => {
  it.runIf(process.platform === 'linux')('kills whoever is started while it cleans up', async () => {
    const mark = randomUUID();
    vi.stubEnv('HANDOVER_TEST_BREED', mark);
    onTestFinished(() => void vi.unstubAllEnvs());
    const { all } = await pretend(['breeds']);
    expect(all).toEqual([{ name: 'breeds', elapsedMs: expect.any(Number), found: expect.any(Object) }]);
    expect(processesMarked('HANDOVER_TEST_BREED', mark)).toEqual([]);
  });

  it('says of each how it ended, and why', async () => {
    const { all, said } = await pretend(['throws', 'quiet', 'good']);
    const failures = all.map(({ failure }) => failure);
    expect(failures).toEqual(['Error: it was not to be\nthe last words', 'it found nothing', undefined]);
    expect(all[2]?.found?.figures).toEqual({ more: 1 });
    expect(said).toContain('[3/3] good: round 1 of 1');
  });

  it.runIf(process.platform === 'linux')('ends one that hangs, with what it has started and written', async () => {
    vi.stubEnv('TMPDIR', temporaryFolder());
    onTestFinished(() => void vi.unstubAllEnvs());
    const { all, said } = await pretend(['hangs', 'good'], 3_000);
    expect(all.map(({ failure }) => failure)).toEqual(['not done after 3 s', undefined]);
    const pid = Number(/hangs: (\d+)/.exec(said.join('\n'))?.[1]);
    await until(() => identify(pid) === undefined, { what: 'the grandchild to be gone' });
    expect(readdirSync(tmpdir())).toEqual([]);
  });
});

async function runOf(names: readonly string[]): Promise<Run> {
  const { all: benches } = await pretend(names);
  const machine = { kernel: 'Linux <b>', node: '20.20.2', cpus: 2, cpu: 'a "CPU"', memoryMiB: 4_096, load: 0.5 };
  const about = { version: '0.1.0', commit: null, date: '2026-11-21T18:00:00.000Z', quick: false, elapsedMs: 61_000 };
  return { ...machine, ...about, benches };
}

describe('the page', () => {
  it('escapes whatever it shows', async () => {
    const html = pageOf(await runOf(['good', 'throws']));
    expect(html).not.toContain('<script>document.title');
    expect(html).not.toContain('<img');
    expect(html).not.toContain('Linux <b>');
  });

  it.runIf(executablePath).each([
    ['light', 1_200],
    ['dark', 360],
  ] as const)(
    `is drawn in Chromium, %s and %i wide, and asks no network${needs('chromium')}`,
    async (colorScheme, width) => {
      const file = join(temporaryFolder(), 'page.html');
      writeFileSync(file, pageOf(await runOf(['good', 'throws'])));
      const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
      await using browser: Browser = await chromium.launch({ executablePath: executablePath as string, args });
      const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
      const problems: string[] = [];
      page.on('console', (message) => problems.push(message.text()));
      page.on('pageerror', (error) => problems.push(String(error)));
      page.on('request', (request) => {
        if (request.url() !== `file://${file}`) problems.push(request.url());
      });
      await page.goto(`file://${file}`);
      const chart = page.locator('[data-bars] .u-over');
      await chart.hover();
      await page.locator('.u-legend').getByText('2.00 (1.00 to 3.00) ms').waitFor();
      // Drawn, and as wide as the screen: only the tables may be wider, in a part that scrolls.
      const ink = await page.evaluate(
        "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 200, 60).data].some((byte) => byte > 0)",
      );
      expect(ink).toBe(true);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      expect(await page.title()).toBe('handover: benchmarks of 2026-11-21');
      expect(await page.getByText('missed').count()).toBe(1);
      expect(problems).toEqual([]);
      await browser.close();
    },
  );
});
