// The handovers a server recorded: both processes as rows of bars, the critical path marked, and the hints.
import type { TimelineSpan } from '../../observe/timeline-part.js';
import { type Html, html } from './html.js';
import type { Recorded, RecordedProcess } from './recorded.js';
import { ms } from './tables.js';

/** More are a matter of `joinTimeline` and Perfetto. */
const SHOWN = 10;
/** Collections of garbage shorter than this stay out of the table. */
const WORTH_MS = 1;
/** How far behind the end of the critical path is drawn: a drain may last for hours. */
const BEYOND = 1.3;
/** Clocks that differ by less are taken as alike. */
const WORTH_TELLING_MS = 5;

export function timelineSection(recorded: readonly Recorded[], directory: string): Html {
  const shown = recorded.slice(0, SHOWN);
  const more = recorded.length > SHOWN ? `The first ${SHOWN} of ${recorded.length} handovers. ` : '';
  return html`<h2>Timeline</h2>
<p class="quiet">${more}Recorded by both processes in ${directory}. Outlined: the critical path, what the switch waited for. Bars that are
cut off at the right go on; the table has their whole length.</p>
${recorded.length === 0 && html`<p class="doubt">None of the handovers recorded there was within this run.</p>`}
${shown.map((one, index) => handover(one, index === 0))}`;
}

function handover(recorded: Recorded, isFirst: boolean): Html {
  const { handoverId, switchIndex, shiftMs, processes, path, hints, spawnToReadyMs } = recorded;
  const total = path.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const which = switchIndex === undefined ? 'A handover clients saw nothing of' : `Switch ${switchIndex + 1}`;
  const ready = spawnToReadyMs === undefined ? '' : `, spawn to READY ${ms(spawnToReadyMs)} ms`;
  const isMoved = Math.abs(shiftMs) > WORTH_TELLING_MS;
  return html`<details class="handover"${isFirst && html` open`}><summary><strong>${which}</strong>: critical path ${ms(total)} ms${ready}</summary>
<p class="quiet">handover ${handoverId}${isMoved && `; the clocks of server and client differ: its times were moved by ${ms(Math.abs(shiftMs))} ms, ${shiftMs > 0 ? 'later' : 'earlier'}`}</p>
${drawing(recorded)}
${hints.length > 0 ? html`<ul class="hints">${hints.map((hint) => html`<li>${hint}</li>`)}</ul>` : html`<p class="quiet">No hints.</p>`}
<details><summary>The critical path and all stretches as tables</summary><div class="scroll" tabindex="0"><table><caption>Critical path</caption>
<thead><tr><th scope="col">process</th><th scope="col">stretch</th><th scope="col" class="number">from, s</th><th scope="col" class="number">ms</th></tr></thead>
<tbody>${path.map(({ role, name, startedAt, durationMs }) => row(role, name, startedAt, durationMs))}</tbody></table>
<table><caption>All</caption><tbody>${processes.map(({ role, spans }) =>
    spans
      .filter(({ track, durationMs = 0 }) => track !== 'frames' && (track !== 'gc' || durationMs >= WORTH_MS))
      .map(({ track, name, startedAt, durationMs }) =>
        row(role, track === 'gc' ? `gc: ${name}` : name, startedAt, durationMs),
      ),
  )}</tbody></table></div></details>
</details>`;
}

function row(role: string, name: string, startedAt: number, durationMs: number | undefined): Html {
  return html`<tr><td>${role}</td><td>${name}</td><td class="number">${(startedAt / 1_000).toFixed(4)}</td><td class="number">${ms(durationMs)}</td></tr>`;
}

/** From the request to a while after the critical path. */
function drawing({ processes, path }: Recorded): Html {
  const starts = processes.flatMap(({ spans, role }) =>
    spans.filter(({ name }) => role === 'successor' || name === 'requested').map(({ startedAt }) => startedAt),
  );
  const from = Math.min(...path.map(({ startedAt }) => startedAt), ...(path.length === 0 ? starts : []));
  const end = Math.max(...path.map(({ startedAt, durationMs }) => startedAt + durationMs), from + 1);
  const length = (end - from) * BEYOND;
  const order = [...processes].sort((a, b) => a.role.localeCompare(b.role));
  return html`<div class="bars" role="img" aria-label="${`Both processes over ${ms(length)} ms; the same is in the tables below`}">
<div class="scale"><span>0</span><span>${ms(length / 2)} ms</span><span>${ms(length)} ms</span></div>
${order.map((process) => tracks(process, path, from, length))}
</div>`;
}

function tracks(process: RecordedProcess, path: Recorded['path'], from: number, length: number): Html {
  const { role, pid, generation, spans } = process;
  const visible = spans.filter(
    ({ startedAt, durationMs = 0 }) => startedAt < from + length && startedAt + durationMs >= from,
  );
  const rows = [
    ...lanes(
      'phases',
      visible.filter(({ track, name }) => track === 'handover' && name !== 'spawn'),
    ),
    ...lanes(
      'spawn',
      visible.filter(({ track, name }) => track === 'handover' && name === 'spawn'),
    ),
    ...lanes(
      'steps',
      visible.filter(({ track }) => track === 'steps'),
    ),
    ...lanes(
      'connections',
      visible.filter(({ track }) => track === 'connections'),
    ),
    ...lanes(
      'gc',
      visible.filter(({ track }) => track === 'gc'),
    ),
  ];
  return html`<p class="who">${role}, generation ${generation}, pid ${pid}</p>
${rows.map(
  ({ title, spans: some }) =>
    html`<div class="row"><span class="name">${title}</span><div class="track">${some.map((span) => bar(span, role, path, from, length))}</div></div>`,
)}`;
}

interface Lane {
  readonly title: string;
  readonly spans: TimelineSpan[];
}

/** What runs side by side lies one below the other; moments lie upon the first. */
function lanes(title: string, spans: readonly TimelineSpan[]): Lane[] {
  const rows: Lane[] = [];
  const endOf = ({ startedAt, durationMs = 0 }: TimelineSpan): number => startedAt + durationMs;
  const moments = spans.filter(({ durationMs }) => durationMs === undefined);
  for (const span of spans
    .filter(({ durationMs }) => durationMs !== undefined)
    .sort((a, b) => a.startedAt - b.startedAt)) {
    // Stretches that follow each other may overlap by a rounding.
    const row = rows.find((lane) => lane.spans.every((other) => endOf(other) <= span.startedAt + 0.01));
    if (row) row.spans.push(span);
    else rows.push({ title: rows.length === 0 ? title : '', spans: [span] });
  }
  if (moments.length > 0) rows.push({ title: rows.length === 0 ? title : 'moments', spans: moments });
  return rows;
}

function bar(span: TimelineSpan, role: string, path: Recorded['path'], from: number, length: number): Html {
  const { name, track, startedAt, durationMs } = span;
  const percent = (time: number): number => Math.min(100, Math.max(0, ((time - from) / length) * 100));
  const left = percent(startedAt);
  const width = percent(startedAt + (durationMs ?? 0)) - left;
  const wanted = track === 'steps' ? `step ${name}` : name;
  const isCritical = path.some((segment) => segment.role === role && segment.name === wanted);
  const isCut = durationMs !== undefined && startedAt + durationMs > from + length;
  const kinds = [
    track,
    ...(isCritical ? ['critical'] : []),
    ...(isCut ? ['cut'] : []),
    ...(durationMs === undefined ? ['moment'] : []),
  ];
  const title =
    durationMs === undefined
      ? `${name} at +${ms(startedAt - from)} ms`
      : `${name}: ${ms(durationMs)} ms from +${ms(startedAt - from)} ms`;
  return html`<span class="bar ${kinds.join(' ')}" style="left:${left.toFixed(3)}%;width:${width.toFixed(3)}%" title="${title}"><span>${name}</span></span>`;
}
