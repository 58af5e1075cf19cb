// The charts of a run: each with a description in words for readers who do not see it, and the same numbers as a table.
import { COLOURS, type Column, type Columns, columnsOf, processesOf } from './columns.js';
import type { Run } from './data.js';
import { type Html, html } from './html.js';
import type { Recorded } from './recorded.js';

/** Most rows of the table under a chart. */
const ROWS = 30;
/** Most buttons that zoom in on a switch. */
const BUTTONS = 12;
/** Most names of processes on a chart: more would be illegible. */
const NAMED = 60;

interface Figure {
  readonly id: keyof Pick<Columns, 'throughput' | 'latency' | 'failures' | 'processes' | 'open' | 'connections'>;
  readonly title: string;
  readonly text: string;
  readonly unit: string;
  readonly kind: 'line' | 'stacked';
  readonly digits: number;
}

const FIGURES: readonly Figure[] = [
  {
    id: 'processes',
    title: 'Who answers',
    text: 'Answers a second by the process that gave them, one upon the other. Above: who served when.',
    unit: '/s',
    kind: 'stacked',
    digits: 0,
  },
  {
    id: 'throughput',
    title: 'Requests a second',
    text: 'Right answers, and requests that were lost.',
    unit: '/s',
    kind: 'line',
    digits: 0,
  },
  {
    id: 'latency',
    title: 'Latency',
    text: 'Of right answers, from when each request should have begun. Percentiles are exact to 4 %, the maximum is exact.',
    unit: 'ms',
    kind: 'line',
    digits: 2,
  },
  { id: 'failures', title: 'Failures', text: 'Lost requests by kind.', unit: '', kind: 'stacked', digits: 0 },
  { id: 'open', title: 'Open connections', text: 'At the end of each stretch.', unit: '', kind: 'line', digits: 0 },
  {
    id: 'connections',
    title: 'Connections a second',
    text: 'Opened; closed by the server although no client had asked for it; opened anew because of that.',
    unit: '/s',
    kind: 'line',
    digits: 1,
  },
];

export interface Figures {
  readonly body: Html;
  /** Data for browser/charts.ts. */
  readonly data: object;
}

export function figuresOf(run: Run, recorded: readonly Recorded[]): Figures {
  const columns = columnsOf(run);
  const rows = columnsOf(run, ROWS);
  const drawn = FIGURES.filter(({ id }) => columns[id].length > 0);
  const first = drawn[0]?.id;
  const stretch = Math.round(run.details.elapsedMs / Math.max(1, columns.x.length - 1));
  return {
    body: html`<h2 id="over-time">Over time</h2>
<p class="quiet">A step is about ${stretch} ms of the run. Grey bands: from a trigger (or the last answer of the old process) to the
first answer of the new one. Drag to look closer, double-click for all; a name in a legend hides its line.</p>
${zoomButtons(run)}
${recorded.length > 0 && html`<p class="quiet">The rows <em>old</em> and <em>new</em> are the phases of the two processes, as they recorded them.</p>`}
${drawn.map((figure) => figureOf(figure, columns, rows, figure.id === first))}
${columns.failures.length === 0 && html`<p><strong>Failures</strong>: no request that was sent was lost.</p>`}
${columns.processes.length === 0 && html`<p><strong>Who answers</strong> is not known: the run was without <code>--identify</code>.</p>`}`,
    data: {
      x: columns.x,
      marks: run.result.switches.map(({ triggeredAtMs, atMs, overlapMs }, index) => ({
        from: seconds(triggeredAtMs ?? Math.min(atMs, atMs + overlapMs)),
        to: seconds(atMs),
        label: `switch ${index + 1}`,
      })),
      lanes: [...servingLane(run), ...phaseLanes(recorded)],
      charts: Object.fromEntries(
        drawn.map(({ id, unit, kind, digits }) => [id, { unit, kind, digits, series: columns[id] }]),
      ),
    },
  };
}

function figureOf({ id, title, text, unit, digits }: Figure, columns: Columns, rows: Columns, hasLanes: boolean): Html {
  const said = columns[id].map((column) => describe(column, unit)).join('; ');
  const lanes = hasLanes ? html` data-lanes` : undefined;
  return html`<figure>
<figcaption><strong>${title}</strong>${unit === '' ? '' : `, ${unit}`}. ${text}</figcaption>
<div class="chart" role="img" aria-label="${`${title}. ${said}`}" data-chart="${id}"${lanes}></div>
${hasLanes && html`<output class="at-cursor" aria-live="off"></output>`}
<details><summary>The same as a table</summary><div class="scroll" tabindex="0"><table>
<thead><tr><th scope="col" class="number">from, s</th>${rows[id].map(({ label }) => html`<th scope="col" class="number">${label}${unit === '' ? '' : `, ${unit}`}</th>`)}</tr></thead>
<tbody>${rows.x.slice(0, -1).map((from, index) => html`<tr><td class="number">${from.toFixed(2)}</td>${rows[id].map(({ values }) => html`<td class="number">${shown(values[index], digits)}</td>`)}</tr>`)}</tbody>
</table></div></details>
</figure>`;
}

function describe({ label, values }: Column, unit: string): string {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return `${label}: nothing`;
  return `${label}: ${Math.min(...known)} to ${Math.max(...known)} ${unit}`.trim();
}

function shown(value: number | null | undefined, digits: number): string {
  return value == null
    ? '–'
    : value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

function zoomButtons({ result: { switches }, details }: Run): Html | undefined {
  if (switches.length === 0) return undefined;
  const end = seconds(details.elapsedMs);
  const near = switches.slice(0, BUTTONS).map(({ triggeredAtMs, atMs, overlapMs }, index) => {
    const from = seconds(triggeredAtMs ?? Math.min(atMs, atMs + overlapMs));
    const to = seconds(Math.max(atMs, atMs + overlapMs));
    const margin = Math.max(0.5, (to - from) / 2);
    const [left, right] = [Math.max(0, from - margin), Math.min(end, to + margin)];
    return html`<button type="button" data-from="${left}" data-to="${right}" aria-pressed="false">switch ${index + 1}</button> `;
  });
  return html`<p class="zoom"><button type="button" data-from="0" data-to="${end}" aria-pressed="true">whole run</button> ${near}</p>`;
}

/** A lane with a bar for each process, from its first to its last answer. */
function servingLane({ details: { identities } }: Run): object[] {
  const order = processesOf(identities);
  if (order.length === 0) return [];
  const spans = identities.map(({ id, firstAt, lastAt }) => {
    const color = (order.indexOf(id) % COLOURS) + 1;
    return { from: seconds(firstAt), to: seconds(lastAt), label: order.length > NAMED ? '' : id, color };
  });
  return stagger(spans).map((row, index) => ({ label: index === 0 ? 'process' : '', spans: row }));
}

/** Puts overlapping spans into different rows. */
function stagger<T extends { readonly from: number; readonly to: number }>(spans: readonly T[]): T[][] {
  const rows: T[][] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const row = rows.find((one) => (one.at(-1)?.to ?? 0) <= span.from);
    if (row) row.push(span);
    else if (rows.length < 3) rows.push([span]);
    else rows[0]?.push(span);
  }
  return rows;
}

/** Colours of the phases; other phases are grey. */
const PHASES: Readonly<Record<string, number>> = {
  spawn: 5,
  PREPARE: 7,
  PROBATION: 8,
  COMMIT: 6,
  MIGRATE: 4,
  DRAIN: 5,
  'Node starts': 7,
  'modules load': 5,
  start: 3,
  ready: 8,
  'take charge': 6,
};

function phaseLanes(recorded: readonly Recorded[]): object[] {
  return (['predecessor', 'successor'] as const).flatMap((role) => {
    const spans = recorded.flatMap(({ processes }) =>
      processes
        .filter((one) => one.role === role)
        .flatMap((one) => one.spans)
        .filter(({ track, durationMs, name }) => track === 'handover' && durationMs !== undefined && name !== 'spawn')
        .map(({ name, startedAt, durationMs = 0 }) => {
          const color = PHASES[name] ?? 0;
          return { from: seconds(startedAt), to: seconds(startedAt + durationMs), label: name, color };
        }),
    );
    return spans.length === 0 ? [] : [{ label: role === 'predecessor' ? 'old' : 'new', spans }];
  });
}

function seconds(ms: number): number {
  return Math.round(ms * 10) / 10_000;
}
