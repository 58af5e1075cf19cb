// The page of a run: what was measured on what, which bars were reached, and each benchmark's tables and charts.
import { readFileSync } from 'node:fs';
import { type Html, html } from '../../lib/report/html.js';
import { assets, page } from '../../lib/report/page.js';
import type { Chart, Expectation } from '../lib/bench.js';
import { verdictOf } from '../lib/expectations.js';
import type { Machine, Measured } from '../lib/machine.js';
import type { Ended, Found } from './suite.js';

export interface Run extends Machine, Measured {
  readonly date: string;
  readonly quick: boolean;
  readonly elapsedMs: number;
  readonly benches: readonly Ended[];
}

const STYLE = `
a { color: inherit; }
th[scope="row"], .expectations td:nth-child(2) { min-width: 10rem; }
.runs th[scope="row"] { min-width: 0; }
.expectations td:nth-child(3), .expectations td:nth-child(4) { min-width: 8rem; }
pre { overflow-x: auto; font-size: 0.8rem; line-height: 1.4; }
.scroll { margin-bottom: 0.75rem; }
.chart { min-height: 0; }
@media (max-width: 40rem) { body { padding: 1rem 0.75rem 3rem; } }
`;

export function pageOf(run: Run): string {
  const charts: Chart[] = [];
  const { scripts, style } = assets();
  const body = html`
<h1>handover ${run.version}: benchmarks, ${run.date.slice(0, 10)}</h1>
<p class="quiet">${run.date}, commit ${run.commit ?? 'unknown'}, ${run.kernel}, Node ${run.node}, ${run.cpus} CPUs (${run.cpu}),
${Math.round(run.memoryMiB / 1024)} GiB, ${run.load} processes ready to run at the start; ${minutes(run.elapsedMs)} in all.</p>
${run.quick && html`<p class="doubt">A quick run: it shows that the benchmarks run, its figures mean nothing.</p>`}
${summary(run.benches)}
${bars(run.benches)}
${run.benches.map((one) => section(one, charts))}`;
  const browser = readFileSync(new URL('browser/bars.js', import.meta.url), 'utf8');
  return page({
    title: `handover: benchmarks of ${run.date.slice(0, 10)}`,
    style: style + STYLE,
    body,
    data: { charts },
    // The library alone: the other script draws over time.
    scripts: [...scripts.slice(0, 1), browser],
  });
}

function summary(benches: readonly Ended[]): Html {
  const rows = benches.map(({ name, elapsedMs, found, failure }) => {
    const state = found
      ? html`<td class="good">measured</td>`
      : html`<td class="bad">failed: ${firstLine(failure)}</td>`;
    const skipped = found?.skipped.join(', ') || '–';
    return html`<tr><th scope="row"><a href="#${name}">${name}</a></th>${state}<td>${skipped}</td><td class="number">${minutes(elapsedMs)}</td></tr>`;
  });
  return html`<div class="scroll"><table class="runs"><caption>What was run</caption>
<thead><tr><th>bench</th><th></th><th>skipped, not on this machine</th><th class="number">took</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

function bars(benches: readonly Ended[]): Html {
  const rows = benches.flatMap(({ name, found }) =>
    (found?.expectations ?? []).map(
      (bar) => html`<tr><td><a href="#${name}">${name}</a></td><td>${bar.name}</td><td>${bar.expectation}</td>
<td>${bar.measured}</td><td>${verdict(bar)}</td></tr>`,
    ),
  );
  if (rows.length === 0) return html``;
  return html`<h2>The bars that were set</h2>
<div class="scroll"><table class="expectations"><thead><tr><th>bench</th><th>what</th><th>set</th><th>measured</th><th></th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

function verdict(bar: Expectation): Html {
  const [text, { reached }] = [verdictOf(bar), bar];
  if (reached === undefined) return html`${text}`;
  return reached ? html`<span class="good">${text}</span>` : html`<span class="bad">${text}</span>`;
}

function section({ name, found, failure, left }: Ended, charts: Chart[]): Html {
  const content = found ? results(found, charts) : html`<p class="bad">failed</p><pre>${failure}</pre>`;
  return html`<section id="${name}"><h2>${name}</h2>${left !== undefined && html`<p class="bad">left behind: ${left}</p>`}${content}</section>`;
}

function results({ rounds, tables, notes, text, charts: drawn = [] }: Found, charts: Chart[]): Html {
  const figures = drawn.filter(({ bars: { length } }) => length > 0);
  return html`<p class="quiet">Median (min to max) of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}.</p>
${tables === undefined ? html`<pre>${text}</pre>` : tables.map(tableOf)}
${tables !== undefined && notes?.map((note) => html`<p>${note}</p>`)}
${figures.map(
  (chart) => html`<figure><figcaption><strong>${chart.title}</strong></figcaption>
<div class="chart" data-bars="${charts.push(chart) - 1}" role="img" aria-label="${spoken(chart)}"></div></figure>`,
)}`;
}

function tableOf([header = [], ...rows]: readonly (readonly string[])[]): Html {
  const cells = (row: readonly string[]): Html[] =>
    row.map((cell, column) =>
      column === 0 ? html`<th scope="row">${cell}</th>` : html`<td class="number">${cell}</td>`,
    );
  return html`<div class="scroll"><table><thead><tr>${header.map((cell, column) =>
    column === 0 ? html`<th>${cell}</th>` : html`<th class="number">${cell}</th>`,
  )}</tr></thead><tbody>${rows.map((row) => html`<tr>${cells(row)}</tr>`)}</tbody></table></div>`;
}

/** What a chart shows, for who does not see it. */
function spoken({ title, bars: all }: Chart): string {
  return `${title}: ${all.map(({ name, value }) => `${name} ${value.median}`).join(', ')}`;
}

function firstLine(text = ''): string {
  return text.split('\n', 1)[0] ?? '';
}

export function minutes(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
