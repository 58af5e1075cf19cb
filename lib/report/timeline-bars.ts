// Draws recorded handovers: both processes as rows of bars, with the critical path marked, and the hints.
import type { TimelineSpan } from '../observe/timeline-part.js';
import { type Html, html } from './html.js';
import type { Recorded, RecordedProcess } from './recorded.js';
import { ms } from './tables.js';

/** Most handovers drawn; `joinTimeline` and Perfetto show more. */
const SHOWN = 10;
/** Collections of garbage shorter than this stay out of the table. */
const WORTH_MS = 1;
/** Room for the name of a moment, as a fraction of the width. */
const ROOM_FOR_NAME = 0.12;
/** Most lanes; spans that still overlap are in the table. */
const MOST_LANES = 6;
/** Frames drawn because they mark the phases; the trace has the others. */
const FRAMES = /READY|COMMIT|RETIRE|ABORT/;
/** The drawing ends at this multiple of the critical path: a drain may last for hours. */
const BEYOND = 1.3;
/** Smallest difference of clocks that the report mentions. */
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
  return html`<details class="recorded"${isFirst && html` open`}><summary><strong>${which}</strong>: critical path ${ms(total)} ms${ready}</summary>
<p class="quiet">handover ${handoverId}${isMoved && `; the clocks of server and client differ: its times were moved by ${ms(Math.abs(shiftMs))} ms, ${shiftMs > 0 ? 'later' : 'earlier'}`}</p>
${drawing(recorded)}
${hints.length > 0 ? html`<ul class="hints">${hints.map((hint) => html`<li>${hint}</li>`)}</ul>` : html`<p class="quiet">No hints.</p>`}
<details><summary>The critical path and all stretches as tables</summary><div class="scroll" tabindex="0"><table><caption>Critical path</caption>
<thead><tr><th scope="col">process</th><th scope="col">stretch</th><th scope="col" class="number">from, s</th><th scope="col" class="number">ms</th></tr></thead>
<tbody>${path.map(({ role, name, startedAt, durationMs }) => tableRow(role, name, startedAt, durationMs))}</tbody></table>
<table><caption>All</caption><tbody>${processes.map(({ role, spans }) =>
    spans
      .filter(({ track, durationMs = 0 }) => track !== 'frames' && (track !== 'gc' || durationMs >= WORTH_MS))
      .map(({ track, name, startedAt, durationMs }) =>
        tableRow(role, track === 'gc' ? `gc: ${name}` : name, startedAt, durationMs),
      ),
  )}</tbody></table></div></details>
</details>`;
}

function tableRow(role: string, name: string, startedAt: number, durationMs: number | undefined): Html {
  return html`<tr><td>${role}</td><td>${name}</td><td class="number">${(startedAt / 1_000).toFixed(4)}</td><td class="number">${ms(durationMs)}</td></tr>`;
}

/** Draws from the request to a while after the critical path. */
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
${row(
  'critical path',
  path.map((segment) => bar({ ...segment, track: 'path' }, false, from, length)),
)}
${order.map((process) => tracks(process, path, from, length))}
</div>`;
}

function tracks(process: RecordedProcess, path: Recorded['path'], from: number, length: number): Html {
  const { role, pid, generation, spans } = process;
  const visible = spans.filter(({ startedAt, durationMs = 0, track }) => {
    const isWorth = track !== 'gc' || durationMs >= WORTH_MS;
    return isWorth && startedAt < from + length && startedAt + durationMs >= from;
  });
  const of = (wanted: TimelineSpan['track']): TimelineSpan[] => visible.filter(({ track }) => track === wanted);
  const phases = of('handover');
  const isMoment = ({ durationMs }: TimelineSpan): boolean => durationMs === undefined;
  const rows = [
    ...lanes(
      'phases',
      phases.filter((span) => !isMoment(span)),
      0,
    ),
    ...lanes('moments', phases.filter(isMoment), length * ROOM_FOR_NAME),
    ...lanes(
      'frames',
      of('frames').filter(({ name }) => FRAMES.test(name)),
      length * ROOM_FOR_NAME,
    ),
    ...lanes('steps', of('steps'), 0),
    ...lanes('batches', of('connections'), 0),
    ...lanes('gc', of('gc'), 0),
  ];
  return html`<p class="who">${role}, generation ${generation}, pid ${pid}</p>
${rows.map(({ title, spans: some }) =>
  row(
    title,
    some.map((span) => bar(span, isCriticalIn(path, role, span), from, length)),
  ),
)}`;
}

function row(title: string, bars: readonly Html[]): Html {
  return html`<div class="row"><span class="name">${title}</span><div class="track">${bars}</div></div>`;
}

function isCriticalIn(path: Recorded['path'], role: string, { name, track }: TimelineSpan): boolean {
  const wanted = track === 'steps' ? `step ${name}` : name;
  return path.some((segment) => segment.role === role && segment.name === wanted);
}

type Drawn = Omit<TimelineSpan, 'track'> & { readonly track: TimelineSpan['track'] | 'path' };

interface Lane {
  readonly title: string;
  readonly spans: TimelineSpan[];
}

/** Puts overlapping spans into different lanes. */
function lanes(title: string, spans: readonly TimelineSpan[], leastMs: number): Lane[] {
  const rows: Lane[] = [];
  const endOf = (span: TimelineSpan | undefined): number => {
    return span === undefined ? 0 : span.startedAt + Math.max(span.durationMs ?? 0, leastMs);
  };
  for (const span of [...spans].sort((a, b) => a.startedAt - b.startedAt)) {
    // Consecutive spans may overlap by rounding.
    const lane = rows.find((one) => endOf(one.spans.at(-1)) <= span.startedAt + 0.01);
    if (lane) lane.spans.push(span);
    else if (rows.length < MOST_LANES) rows.push({ title: rows.length === 0 ? title : '', spans: [span] });
  }
  return rows;
}

function bar(span: Drawn, isCritical: boolean, from: number, length: number): Html {
  const { name, track, startedAt, durationMs } = span;
  const percent = (time: number): number => Math.min(100, Math.max(0, ((time - from) / length) * 100));
  const left = percent(startedAt);
  const width = percent(startedAt + (durationMs ?? 0)) - left;
  const isCut = durationMs !== undefined && startedAt + durationMs > from + length;
  const kinds = [
    track,
    ...(isCritical ? ['critical'] : []),
    ...(isCut ? ['cut'] : []),
    ...(durationMs === undefined ? ['moment'] : []),
  ];
  const took = durationMs === undefined ? '' : `: ${ms(durationMs)} ms`;
  return html`<span class="bar ${kinds.join(' ')}" style="left:${left.toFixed(3)}%;width:${width.toFixed(3)}%" title="${`${name}${took} at +${ms(startedAt - from)} ms`}"><span>${name}</span></span>`;
}
