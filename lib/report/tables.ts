// The tables of a report: key figures, verdict, comparison, switches, connections, losses.
import { LOSS_KINDS, type LossKind, NOT_SENT } from '../hammer/outcome.js';
import { processesOf } from './columns.js';
import { type Compared, clientsOf } from './comparison.js';
import { lossOf, type Run, tickEnds } from './data.js';
import { type Content, type Html, html } from './html.js';
import type { Judged, Verdict } from './verdict.js';

const SWITCHES_SHOWN = 100;
const LOSSES_SHOWN = 20;
const CLASSES: Readonly<Record<Verdict | Compared['judgement'], string>> = {
  GO: 'good',
  REVIEW: 'doubt',
  'NO-GO': 'bad',
  better: 'good',
  same: '',
  worse: 'bad',
  unknown: 'quiet',
};

interface Heading {
  readonly text: string;
  readonly isNumber?: boolean;
}

/** A heading that begins with `#` marks a column of numbers. */
function table(caption: string, headings: readonly string[], rows: readonly (readonly Content[])[]): Html {
  const columns = headings.map((text): Heading => ({ text: text.replace(/^#/, ''), isNumber: text.startsWith('#') }));
  const kind = (index: number): Html | undefined => (columns[index]?.isNumber ? html` class="number"` : undefined);
  return html`<div class="scroll" tabindex="0"><table><caption>${caption}</caption>
<thead><tr>${columns.map(({ text }, index) => html`<th scope="col"${kind(index)}>${text}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map((cell, index) => html`<td${kind(index)}>${cell}</td>`)}</tr>`)}</tbody>
</table></div>`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

export function ms(value: number | null | undefined): string {
  if (value == null) return '–';
  return value >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** The head of a report: the plan of the run, and its main results. */
export function headOf(run: Run, judged: Judged | undefined, compared: readonly Compared[]): Html {
  const { details } = run;
  const started = new Date(details.startedAt)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC');
  const loop = details.rate === null ? 'closed loop' : `open loop, ${count(details.rate)} a second`;
  const worse = compared.filter(({ judgement }) => judgement === 'worse');
  const { lost } = lossOf(run);
  return html`<header>
<h1>${details.url}</h1>
<p class="quiet">handover hammer, ${started}, ${(details.elapsedMs / 1_000).toFixed(1)} s, ${loop}, ${clientsOf(details.mix)}</p>
<p class="verdict">${
    judged !== undefined
      ? html`<strong class="${CLASSES[judged.verdict]}">${judged.verdict}</strong> for ${judged.sla} %`
      : html`<strong class="${lost > 0 ? 'bad' : 'good'}">${lost === 0 ? 'No request was lost' : `${count(lost)} requests were lost`}</strong>`
  }${
    compared.length > 0 &&
    html`; against the baseline ${worse.length === 0 ? 'nothing is significantly worse' : html`<strong class="bad">${worse.length} worse</strong>: ${worse.map(({ metric }) => metric).join(', ')}`}`
  }</p>
<dl class="figures">${keyFigures(run).map(([name, value, more]) => html`<div><dt>${name}</dt><dd>${value}${more !== '' && html` <small>${more}</small>`}</dd></div>`)}</dl>
</header>`;
}

function keyFigures(run: Run): [string, string, string][] {
  const { details, result } = run;
  const { requests, latencyMs, connections, switches } = result;
  const { lost, all } = lossOf(run);
  const percent = all === 0 ? '' : `${Number(((lost / all) * 100).toPrecision(2))} %`;
  return [
    ['answered', count(requests.ok), `${count(Math.round(details.requestsPerSecond))}/s`],
    ['lost', count(lost), percent],
    ['switches', count(switches.length), details.triggers.length > 0 ? `${details.triggers.length} triggers` : ''],
    ['closed by the server', count(connections.closedByServer), `of ${count(connections.opened)} opened`],
    ['p50', ms(latencyMs.p50), 'ms'],
    ['p90', ms(details.latencyMs.p90), 'ms'],
    ['p99', ms(latencyMs.p99), 'ms'],
    ['max', ms(latencyMs.max), 'ms'],
    ['longest gap without an answer', ms(result.longestGapMs), 'ms'],
  ];
}

export function verdictTable({ sla, lines }: Judged): Html {
  const rows = lines.map(({ name, verdict, reason }) => [
    name,
    html`<span class="${CLASSES[verdict]}">${verdict}</span>`,
    reason,
  ]);
  return html`<h2>Verdict</h2>
${table(`Limits for ${sla} %. One NO-GO decides, else one REVIEW.`, ['line', 'verdict', 'why'], rows)}`;
}

export function comparisonTable(compared: readonly Compared[], differences: readonly string[], name: string): Html {
  const value = (number: number | null, unit: string): string =>
    number === null ? '–' : `${ms(number)}${unit === '' ? '' : ` ${unit}`}`;
  const rows = compared.map(({ metric, unit, baseline, current, ratio, interval, judgement, note }) => [
    metric,
    value(baseline, unit),
    value(current, unit),
    ratio === null ? (baseline === 0 && current !== 0 ? '∞' : '–') : change(ratio),
    interval === null ? '–' : `${change(interval.low)} to ${change(interval.high)}`,
    html`<span class="${CLASSES[judgement]}">${judgement}</span>`,
    note,
  ]);
  return html`<h2>Against the baseline</h2>
<p class="quiet">${name}. The interval (95 %) says what varied within the two runs, not what differs between two mornings: requests and
latencies by resampling stretches of both, counts by the exact interval of two rates.</p>
${differences.length > 0 && html`<p class="doubt">The two runs were not made alike. ${differences.join('; ')}.</p>`}
${table('', ['metric', '#baseline', '#current', '#change', '#95 % interval', 'judgement', ''], rows)}`;
}

function change(ratio: number | null): string {
  if (ratio === null) return '∞';
  const percent = (ratio - 1) * 100;
  return `${percent > 0 ? '+' : percent < 0 ? '−' : ''}${Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0)} %`;
}

/** Each switch: its duration, the longest gap for clients, and the fate of their connections. */
export function switchTable(run: Run): Html {
  const { switches } = run.result;
  const { details } = run;
  if (switches.length === 0) {
    return html`<h2>Switches</h2><p>None was seen${details.identities.length === 0 ? ': the run was without --identify' : ''}.</p>`;
  }
  const ends = tickEnds(run.ticks);
  const rows = switches.slice(0, SWITCHES_SHOWN).map((found, index) => {
    const { from, to, atMs, triggeredAtMs, triggerToFirstAnswerMs, overlapMs } = found;
    const begin = triggeredAtMs ?? Math.min(atMs, atMs + overlapMs);
    const end = Math.max(atMs, atMs + overlapMs);
    const around = run.ticks.filter((tick, at) => (ends[at] ?? 0) > begin && (ends[at] ?? 0) - tick.coversMs < end);
    const sum = (of: (tick: Run['ticks'][number]) => number): string =>
      count(around.reduce((all, tick) => all + of(tick), 0));
    const slowest = Math.max(0, ...around.map(({ latencyMs }) => latencyMs.max));
    return [
      index + 1,
      html`<span class="whole">${from} → ${to}</span>`,
      (atMs / 1_000).toFixed(3),
      ms(triggerToFirstAnswerMs),
      triggeredAtMs === null ? '–' : ms(atMs + overlapMs - triggeredAtMs),
      overlapMs < 0 ? `neither ${ms(-overlapMs)}` : ms(overlapMs),
      ms(details.switchGapsMs[index]),
      ms(slowest),
      sum(({ lost }) => lost),
      ...survivalOf(run, index),
    ];
  });
  const more = switches.length > rows.length ? ` The first ${rows.length} of ${switches.length}.` : '';
  return html`<h2>Switches</h2>
${table(
  `Times in ms.${more}`,
  [
    '#',
    'process',
    '#at, s',
    '#trigger → first answer',
    '#trigger → old one’s last answer',
    '#both answered',
    '#longest gap',
    '#slowest answer',
    '#lost',
    '#connections kept',
    '#closed by the old one',
  ],
  rows,
)}
<p class="quiet">Lost and slowest: of the ticks that touch the switch. Kept: connections that were answered by a process before the switch
and by one after it. Closed: connections the server ended unasked after an older process had answered last on them.</p>`;
}

/** The numbers of connections that survived a switch, and that the leaving process closed. */
function survivalOf({ result, details }: Run, index: number): [string, string] {
  const found = result.switches[index];
  const order = processesOf(details.identities);
  const young = found === undefined ? -1 : order.indexOf(found.to);
  const connections = (fates: Run['details']['fates']): string =>
    count(fates.reduce((all, fate) => all + fate.connections, 0));
  const kept = details.fates.filter(
    ({ from, to }) => to !== null && order.indexOf(from) < young && order.indexOf(to) >= young,
  );
  return [connections(kept), connections(details.fates.filter(({ from, to }) => to === null && from === found?.from))];
}

export function lossTable({ result, details }: Run): Html | undefined {
  const kinds = Object.entries(result.lostBy).filter(([, lost]) => lost > 0);
  const { notSent = 0 } = details;
  if (kinds.length === 0 && notSent === 0) return undefined;
  const rows = kinds.map(([kind, lost]) => [kind, count(lost), LOSS_KINDS[kind as LossKind]]);
  if (notSent > 0) rows.push(['notSent', count(notSent), NOT_SENT]);
  const told = details.losses
    .slice(0, LOSSES_SHOWN)
    .map(({ atMs, kind, detail }) => [(atMs / 1_000).toFixed(3), kind, detail]);
  return html`<h2>Lost requests</h2>
${table('', ['kind', '#lost', 'what it is'], rows)}
<details><summary>The first ${told.length}</summary>${table('', ['#at, s', 'kind', 'detail'], told)}</details>`;
}

/** Evidence beside the clients: kernel counters and ledger. */
export function witnesses({ result, details }: Run): Html {
  const { connections, ledger } = result;
  const kernel = Object.entries(details.kernel);
  return html`<h2>Connections and witnesses</h2>
${table(
  '',
  ['', '#count'],
  [
    ['connections opened', count(connections.opened)],
    ['closed by the server, unasked', count(connections.closedByServer)],
    ['reconnects forced by that', count(details.reconnectsForced)],
    ...Object.entries(ledger ?? {}).map(([name, value]) => [`ledger: ${name}`, count(value)]),
    ...kernel.map(([name, value]) => [`kernel: ${name}`, count(value)]),
  ],
)}
${kernel.length > 0 && html`<p class="quiet">The kernel counts for its whole network namespace, also what others do meanwhile.</p>`}`;
}
