// The page of a report in Debian's Chromium: light, dark and on a phone, without a request, a complaint or a sideways scroll.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Tick } from '../../lib/report/data.js';
import { html } from '../../lib/report/html.js';
import { assets, page as pageOfParts } from '../../lib/report/page.js';
import { handover } from '../cli/command.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { findTool, needs } from '../migration/tools.js';
import { hammerHandovers, type MadeRun, madeRun } from './runs.js';

expectNoLeaks();
const programs = usePrograms();
const executablePath = findTool('chromium');
const PHONE = { width: 390, height: 800 };

/** A page with all that is wrong with it: what it asked the network for, and what it complained of. */
interface Opened {
  readonly page: Page;
  readonly requests: string[];
  readonly complaints: string[];
}

let browser: Browser | undefined;
beforeAll(async () => {
  if (executablePath === undefined) return;
  // Its sandbox does not run as root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  browser = await chromium.launch({ executablePath, args });
});
afterAll(async () => browser?.close());

async function open(file: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await (browser as Browser).newContext({ viewport: { width: 1_100, height: 900 }, ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const { href } = pathToFileURL(file);
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => request.url() !== href && requests.push(request.url()));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(href);
  return { page, requests, complaints };
}

/** The page `handover report` makes of a run that is made up. */
async function reported(made: MadeRun, ...more: string[]): Promise<string> {
  const folder = privateFolder();
  writeFileSync(join(folder, 'data.json'), madeRun(made));
  const ended = await handover(['report', join(folder, 'data.json'), ...more]);
  expect(ended.stderr).toBe('');
  return join(folder, 'data.html');
}

/** How many pixels of the chart's canvas, or of its upper right, have a colour near to this one of the style. */
function pixels(page: Page, chart: string, colour: string, within = 'all'): Promise<number> {
  return page.evaluate<number>(`(() => {
    const read = (width, height, draw) => {
      const canvas = Object.assign(document.createElement('canvas'), { width, height });
      const context = canvas.getContext('2d', { willReadFrequently: true });
      draw(context);
      return context.getImageData(0, 0, width, height).data;
    };
    const [r, g, b] = read(1, 1, (context) => {
      context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('${colour}');
      context.fillRect(0, 0, 1, 1);
    });
    const chart = document.querySelector('[data-chart="${chart}"] canvas');
    const drawn = read(chart.width, chart.height, (context) => context.drawImage(chart, 0, 0));
    let found = 0;
    for (let at = 0; at < drawn.length; at += 4) {
      const [x, y] = [(at / 4) % chart.width, at / 4 / chart.width];
      if (${within === 'upper right'} && (x < chart.width * 0.6 || y > chart.height * 0.5)) continue;
      const distance = Math.abs(drawn[at] - r) + Math.abs(drawn[at + 1] - g) + Math.abs(drawn[at + 2] - b);
      if (distance < 24 && drawn[at + 3] > 200) found++;
    }
    return found;
  })()`);
}

/** The values a chart shows for where the pointer is. */
async function legend(page: Page, chart: string): Promise<string> {
  const rows = await page.locator(`[data-chart="${chart}"] .u-legend .u-series`).all();
  const texts = rows.map(
    async (row) => `${await row.locator('th').innerText()}: ${await row.locator('td').innerText()}`,
  );
  return (await Promise.all(texts)).join(', ');
}

describe.runIf(executablePath)(`a report in Chromium${needs('chromium')}`, () => {
  it('of a real run through handovers: charts, timelines, values where the pointer is', async () => {
    const folder = privateFolder();
    const file = join(folder, 'out.html');
    await hammerHandovers(programs, join(folder, 'timelines'), '--report', file);
    const { page, requests, complaints } = await open(file);
    await page.waitForSelector('[data-chart="connections"] canvas');
    const charts = await page
      .locator('[data-chart]')
      .evaluateAll((all) => all.map((one) => one.getAttribute('data-chart')));
    expect(charts).toEqual(['processes', 'throughput', 'latency', 'open', 'connections']);
    for (const [chart, colour] of [
      ['processes', '--c2'],
      ['throughput', '--c1'],
      ['latency', '--c3'],
    ] as const) {
      expect(await pixels(page, chart, colour), chart).toBeGreaterThan(100);
    }
    // Both processes of both handovers, each with its phases; the path, its hint, and steps as the app names them.
    expect(await page.locator('.recorded').count()).toBe(2);
    const bars = page.locator('.recorded').first().locator('.bar');
    const names = await bars.allInnerTexts();
    for (const name of [
      'spawn',
      'PREPARE',
      'COMMIT',
      'DRAIN',
      'exit',
      '→ READY',
      '← READY',
      '→ COMMIT',
      'Node starts',
      'start',
      '</script><b>database',
    ]) {
      expect(names).toContain(name);
    }
    expect(await page.locator('.recorded').first().locator('.bar.critical').count()).toBeGreaterThan(3);
    expect(await page.locator('.hints').first().innerText()).toMatch(/ran after "cache"/);

    await page.getByRole('button', { name: 'switch 1' }).click();
    const box = await page.locator('[data-chart="processes"] .u-over').boundingBox();
    if (box === null) throw new Error('the chart has no place');
    await page.mouse.move(box.x + box.width * 0.45, box.y + box.height / 2);
    expect(await legend(page, 'processes')).toMatch(/^at: \d\.\d\d s, \d+: [\d,]+ \/s, \d+: [\d,]+ \/s/);
    expect(await legend(page, 'latency')).toMatch(
      /^at: \d\.\d\d s, p50: [\d.]+ ms, p90: [\d.]+ ms, p99: [\d.]+ ms, max: [\d.]+ ms$/,
    );
    expect(await page.locator('.at-cursor').innerText()).toMatch(/process \d+.*old [A-Z]+.*new \w+/);
    expect({ requests, complaints }).toEqual({ requests: [], complaints: [] });
  }, 60_000);

  it.each(['light', 'dark'] as const)('%s: as the system is set, also when that changes', async (colorScheme) => {
    const { page, complaints } = await open(await reported({}), { colorScheme });
    await page.waitForSelector('[data-chart="throughput"] canvas');
    const brightness = (): Promise<number> =>
      page.evaluate<number>('Number(/\\d+/.exec(getComputedStyle(document.body).backgroundColor)[0])');
    const isLight = colorScheme === 'light';
    expect((await brightness()) > 128).toBe(isLight);
    expect(await pixels(page, 'throughput', '--c1')).toBeGreaterThan(100);
    await page.emulateMedia({ colorScheme: isLight ? 'dark' : 'light' });
    expect((await brightness()) > 128).toBe(!isLight);
    // The canvases are drawn again, in the colours of the other theme.
    await expect.poll(() => pixels(page, 'throughput', '--c1')).toBeGreaterThan(100);
    expect(complaints).toEqual([]);
  });

  it('on a phone nothing is wider than the screen', async () => {
    const lost: Partial<Tick> = { ok: 900, lost: 3, lostBy: { refused: 1, earlyClose: 2 } };
    const made: MadeRun = {
      ticks: [{}, {}, lost],
      details: {
        url: `http://localhost/${'long'.repeat(60)}`,
        losses: [{ kind: 'refused', detail: `connect ECONNREFUSED ${'x'.repeat(200)}`, atMs: 600 }],
      },
      result: { lostBy: { refused: 1, earlyClose: 2 } as never, requests: { ok: 39_900, lost: 3 } },
    };
    const folder = privateFolder();
    const old = join(folder, 'old.json');
    writeFileSync(old, madeRun());
    const data = join(folder, 'data.json');
    writeFileSync(data, madeRun(made));
    expect((await handover(['report', data, '--baseline', old, '--sla', '99'])).code).toBe(1);
    const { page, complaints } = await open(join(folder, 'data.html'), {
      viewport: PHONE,
      hasTouch: true,
      isMobile: true,
    });
    await page.waitForSelector('[data-chart="failures"] canvas');
    // Closed parts, too.
    await page.evaluate('for (const details of document.querySelectorAll("details")) details.open = true');
    const widths = await page.evaluate('[document.documentElement.scrollWidth, innerWidth]');
    // What grew out of nothing, and what is nothing in both.
    const cells = await page.locator('tr', { hasText: 'lost requests' }).locator('td').allInnerTexts();
    expect(cells.slice(0, 4)).toEqual(['lost requests', '0', '3', '∞']);
    const closed = await page.locator('tr', { hasText: 'forced reconnects' }).first().locator('td').allInnerTexts();
    expect(closed.slice(0, 6)).toEqual(['forced reconnects', '0', '0', '–', '–', 'same']);
    expect(widths).toEqual([PHONE.width, PHONE.width]);
    expect(await pixels(page, 'failures', '--c1')).toBeGreaterThan(0);
    expect(complaints).toEqual([]);
  });

  it('values of a run in the legend, in a table and in words; a hidden line counts nothing', async () => {
    const { page } = await open(await reported({}));
    const box = await page.locator('[data-chart="processes"] .u-over').boundingBox();
    if (box === null) throw new Error('the chart has no place');
    // Near to the end of a step: it is what counts, not the next one.
    await page.mouse.move(box.x + box.width * 0.27, box.y + 20);
    expect(await legend(page, 'processes')).toBe('at: 2.50 s, A: 4,000 /s, B: 0 /s');
    expect(await legend(page, 'throughput')).toBe('at: 2.50 s, answered: 4,000 /s, lost: 0 /s');
    await page.mouse.move(box.x + box.width * 0.77, box.y + 20);
    expect(await legend(page, 'processes')).toBe('at: 7.50 s, A: 0 /s, B: 4,000 /s');
    expect(await page.locator('[data-chart="latency"]').getAttribute('aria-label')).toMatch(
      /^Latency\. p50: .* max: 3 to 5 ms$/,
    );
    const table = page.locator('figure').first().locator('details table');
    await page.locator('figure').first().getByText('The same as a table').click();
    expect(await table.locator('thead').innerText()).toMatch(/from, s\s+A, \/s\s+B, \/s/);
    expect((await table.locator('tbody tr').first().innerText()).split(/\s+/)).toEqual(['0.00', '4,000', '0']);

    // Without B, A alone is left to be drawn, and that is nothing in the second half.
    expect(await pixels(page, 'processes', '--c2', 'upper right')).toBeGreaterThan(100);
    await page.locator('[data-chart="processes"] .u-legend').getByText('B', { exact: true }).click();
    await page.waitForSelector('[data-chart="processes"] .u-series.u-off');
    await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))');
    expect(await pixels(page, 'processes', '--c1', 'upper right')).toBe(0);
  });

  it('text of the run is text: a URL, a process and a failure that look like HTML', async () => {
    const evil = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>';
    const made: MadeRun = {
      ticks: Array.from({ length: 40 }, () => ({ answersBy: { [evil]: 1_000 } })),
      details: {
        url: `http://localhost/?${evil}`,
        identities: [{ id: evil, answers: 40_000, firstAt: 1, lastAt: 10_000 }],
        losses: [{ kind: evil, detail: evil, atMs: 1 }],
        kernel: { [evil]: 1 },
        triggers: [{ atMs: 1, error: evil }],
      },
      result: {
        lostBy: { [evil]: 1 } as never,
        switches: [
          { from: 'A', to: evil, atMs: 5_000, triggeredAtMs: 4_000, triggerToFirstAnswerMs: 1_000, overlapMs: 3 },
        ],
      },
    };
    const folder = privateFolder();
    writeFileSync(join(folder, 'data.json'), madeRun(made));
    await handover(['report', join(folder, 'data.json'), '--sla', '99']);
    const { page, requests, complaints } = await open(join(folder, 'data.html'));
    await page.waitForSelector('[data-chart="processes"] canvas');
    expect(await page.title()).toBe(`http://localhost/?${evil} – handover hammer`);
    expect(await page.locator('h1').innerText()).toBe(`http://localhost/?${evil}`);
    expect(await page.locator('img').count()).toBe(0);
    expect(await legend(page, 'processes')).toContain(evil);
    expect({ requests, complaints }).toEqual({ requests: [], complaints: [] });
  });

  it('an hour with 720 switches is a page that opens', async () => {
    const ids = Array.from({ length: 720 }, (_, index) => `${1_000 + index}`);
    const lines = madeRun({
      details: {
        elapsedMs: 3_600_000,
        identities: ids.map((id, index) => ({
          id,
          answers: 20,
          firstAt: index * 5_000,
          lastAt: index * 5_000 + 5_100,
        })),
        triggers: [],
        switchGapsMs: ids.slice(1).map(() => 3),
      },
      result: {
        switches: ids.slice(1).map((to, index) => ({
          ...{ from: `${1_000 + index}`, to, atMs: (index + 1) * 5_000 },
          ...{ triggeredAtMs: null, triggerToFirstAnswerMs: null, overlapMs: 100 },
        })),
      },
    }).split('\n');
    const [tick = ''] = lines;
    const ticks = Array.from({ length: 14_400 }, (_, index) => {
      return JSON.stringify({
        ...(JSON.parse(tick) as Tick),
        opened: 0,
        answersBy: { [`${1_000 + Math.floor(index / 20)}`]: 1_000 },
      });
    });
    const folder = privateFolder();
    writeFileSync(join(folder, 'data.json'), [...ticks, ...lines.slice(40)].join('\n'));
    expect(await handover(['report', join(folder, 'data.json')])).toMatchObject({ code: 0 });
    const { page, complaints } = await open(join(folder, 'data.html'));
    await page.waitForSelector('[data-chart="connections"] canvas');
    expect((await page.content()).length).toBeLessThan(700_000);
    expect(await page.locator('figcaption').first().innerText()).toMatch(/^Who answers/);
    expect(complaints).toEqual([]);
  });

  it('the shell alone: another page with a chart of its own', async () => {
    const file = join(privateFolder(), 'other.html');
    const { scripts, style } = assets();
    const series = [{ label: 'a', color: 1, values: [1, 2, 3] }];
    const data = { x: [0, 1, 2], charts: { one: { unit: 'ms', kind: 'line', series } } };
    const body = html`<h1>Other</h1><div class="chart" data-chart="one"></div>`;
    writeFileSync(file, pageOfParts({ title: 'Other', style, body, data, scripts }));
    const { page, requests, complaints } = await open(file);
    await page.waitForSelector('[data-chart="one"] canvas');
    expect(await pixels(page, 'one', '--c1')).toBeGreaterThan(50);
    expect({ requests, complaints }).toEqual({ requests: [], complaints: [] });
  });
});

it('the chart library is there with its licence', () => {
  const [library] = assets().scripts;
  expect(library).toMatch(/The MIT License[\s\S]*Copyright \(c\) \d+ Leon Sorokin[\s\S]*github\.com\/leeoniya\/uPlot/);
});
