// `--sla`: checks the limits for a restart one by one, and sums them up in one verdict.
import { lossOf, type Run } from './data.js';
import type { SlaTarget } from './options.js';
import type { Recorded } from './recorded.js';
import { mostExpected } from './statistics.js';

export type Verdict = 'GO' | 'REVIEW' | 'NO-GO';

export interface VerdictLine {
  readonly name: 'start' | 'switch' | 'lost' | 'triggers';
  readonly verdict: Verdict;
  readonly reason: string;
}

export interface Judged {
  readonly sla: SlaTarget;
  readonly verdict: Verdict;
  readonly lines: readonly VerdictLine[];
}

interface Limits {
  readonly startMs: number;
  readonly switchMs: number;
  /** Allowed lost requests, as a fraction of all. */
  readonly budget: number;
}

export const SLA_LIMITS: Readonly<Record<SlaTarget, Limits>> = {
  '99': { startMs: 60_000, switchMs: 10_000, budget: 0.01 },
  '99.9': { startMs: 15_000, switchMs: 3_000, budget: 0.001 },
  '99.99': { startMs: 5_000, switchMs: 1_000, budget: 0.0001 },
};

/** Fraction of a limit from which the verdict is REVIEW. */
const NEAR = 0.8;

export function judgeRun(run: Run, sla: SlaTarget, recorded: readonly Recorded[]): Judged {
  const limits = SLA_LIMITS[sla];
  const lines = [
    startLine(run, limits, recorded),
    switchLine(run, limits),
    lostLine(run, limits),
    triggersLine(run, limits),
  ];
  const has = (verdict: Verdict): boolean => lines.some((line) => line.verdict === verdict);
  return { sla, verdict: has('NO-GO') ? 'NO-GO' : has('REVIEW') ? 'REVIEW' : 'GO', lines };
}

/** From the spawn of the new process to its READY where that was recorded, else from the trigger to its first answer. */
function startLine({ result: { switches } }: Run, { startMs }: Limits, recorded: readonly Recorded[]): VerdictLine {
  if (switches.length === 0) return { name: 'start', verdict: 'REVIEW', reason: 'no switch was seen' };
  const starts = switches.map(({ triggerToFirstAnswerMs }, index) => {
    const ready = recorded.find((one) => one.switchIndex === index)?.spawnToReadyMs;
    return { time: ready ?? triggerToFirstAnswerMs, isRecorded: ready !== undefined };
  });
  const measured = starts.flatMap(({ time }) => (time === null ? [] : [time]));
  const missing = starts.length - measured.length;
  const byTimeline = starts.filter(({ isRecorded }) => isRecorded).length;
  const how = [
    ...(byTimeline > 0 ? [`spawn to READY of ${byTimeline}`] : []),
    ...(measured.length > byTimeline ? [`trigger to first answer of ${measured.length - byTimeline}`] : []),
  ];
  return limited('start', measured, startMs, missing, `${how.join(', ')} of ${starts.length} switches`);
}

/** Checks the longest time around a switch in which no client got an answer. */
function switchLine({ result, details }: Run, { switchMs }: Limits): VerdictLine {
  if (result.switches.length === 0) return { name: 'switch', verdict: 'REVIEW', reason: 'no switch was seen' };
  const missing = result.switches.length - details.switchGapsMs.length;
  return limited('switch', details.switchGapsMs, switchMs, missing, 'the longest gap without an answer around each');
}

function limited(
  name: 'start' | 'switch',
  measured: readonly number[],
  limit: number,
  missing: number,
  how: string,
): VerdictLine {
  const worst = Math.max(0, ...measured);
  const said = `at most ${time(worst)}, the limit is ${time(limit)} (${how})`;
  if (worst > limit) return { name, verdict: 'NO-GO', reason: said };
  if (missing > 0) {
    const which = `${missing} of ${measured.length + missing} switches could not be measured (no trigger, no timeline)`;
    return { name, verdict: 'REVIEW', reason: measured.length === 0 ? which : `${which}; else ${said}` };
  }
  if (worst > limit * NEAR) return { name, verdict: 'REVIEW', reason: `within 20 % of the limit: ${said}` };
  return { name, verdict: 'GO', reason: said };
}

function lostLine(run: Run, { budget }: Limits): VerdictLine {
  const name = 'lost';
  const { lost, all } = lossOf(run);
  if (all === 0) return { name, verdict: 'REVIEW', reason: 'there was no request' };
  const part = lost / all;
  const percent = (value: number): string => `${Number((value * 100).toPrecision(3))} %`;
  const { notSent = 0 } = run.details;
  const never = notSent === 0 ? '' : `, ${notSent} of them never sent`;
  const said = `${lost} of ${all} requests (${percent(part)})${never}, the error budget is ${percent(budget)}`;
  if (part > budget) return { name, verdict: 'NO-GO', reason: said };
  if (part > budget * NEAR) return { name, verdict: 'REVIEW', reason: `within 20 % of the budget: ${said}` };
  const needed = Math.ceil(mostExpected(lost) / budget - 1e-6);
  if (all < needed) {
    const losses = lost === 0 ? 'without a loss' : `for ${lost} of them lost`;
    const why = `${all} requests are too few to show it: it takes ${needed} ${losses}`;
    return { name, verdict: 'REVIEW', reason: `${said}; ${why}` };
  }
  return { name, verdict: 'GO', reason: said };
}

/** Checks that each trigger worked, and that a new process answered it: a switch counts for one trigger only. */
function triggersLine({ result: { switches }, details }: Run, { startMs }: Limits): VerdictLine {
  const name = 'triggers';
  const { triggers, elapsedMs, identities } = details;
  const failed = triggers.filter(({ error }) => error !== undefined);
  const [first] = failed;
  if (first) {
    const reason = `${failed.length} of ${triggers.length} failed, the first at ${seconds(first.atMs)}: ${first.error}`;
    return { name, verdict: 'NO-GO', reason };
  }
  if (identities.length === 0) {
    return { name, verdict: 'REVIEW', reason: 'the run does not say which process answered: use --identify' };
  }
  const open = triggers.filter(({ atMs }) => !switches.some(({ triggeredAtMs }) => triggeredAtMs === atMs));
  const [oldest] = open;
  if (oldest === undefined) {
    const count = triggers.length === 0 ? 'none was asked for' : `${triggers.length} of ${triggers.length}`;
    return { name, verdict: 'GO', reason: `${count}, ${switches.length} switches seen` };
  }
  const waited = elapsedMs - oldest.atMs;
  const said = `no new process answered the trigger at ${seconds(oldest.atMs)} in the ${seconds(waited)} after it`;
  return { name, verdict: waited > startMs ? 'NO-GO' : 'REVIEW', reason: said };
}

function time(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 10) / 100} s`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
