// From what was found to a verdict for each check, with the number, its bound and the reason.
import type { Evidence, Sample, Series, TargetEvidence } from './evidence.js';
import { LEAST_SAMPLES, medianOf, type Point, type Slope, slopeOf } from './slope.js';

export interface Check {
  readonly name: string;
  readonly verdict: 'PASS' | 'FAIL';
  /** What was measured; null where it could not be. */
  readonly number: number | null;
  readonly unit: string;
  /** What the number must keep. */
  readonly bound: string;
  readonly reason: string;
}

type Judgement = Omit<Check, 'name' | 'verdict'> & { readonly passes: boolean };

/** In the order of the report. */
export function checkAll(evidence: Evidence): Check[] {
  const { targets, rssLimit } = evidence;
  const series = targets.flatMap((target) => target.series);
  const judgements: [string, Judgement][] = [
    ['connections', connections(targets)],
    ['lost', lost(targets)],
    ['closed', closed(targets)],
    ['handovers', handovers(targets)],
    ['exits', exits(targets)],
    ['counts', counts(targets)],
    ['executed', executed(targets)],
    ...series.map((it): [string, Judgement] => [`memory, ${it.name}`, memory(it, rssLimit)]),
    ...series.map((it): [string, Judgement] => [`descriptors, ${it.name}`, descriptors(it)]),
    ['processes', processes(targets)],
    ['left', left(targets)],
    ['kernel', kernel(evidence)],
  ];
  return judgements.map(([name, { passes, ...rest }]) => ({ name, verdict: passes ? 'PASS' : 'FAIL', ...rest }));
}

/** A check that counts faults: none may be there. */
function none(unit: string, found: number, faults: readonly string[], whatIsRight: string): Judgement {
  const passes = found === 0 && faults.length === 0;
  return { passes, number: found, unit, bound: '0', reason: passes ? whatIsRight : some(faults) };
}

function some(faults: readonly string[]): string {
  const shown = faults.slice(0, 3).join('; ');
  return faults.length > 3 ? `${shown}; and ${faults.length - 3} more` : shown;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function unmeasured(targets: readonly TargetEvidence[]): string[] {
  return targets.flatMap(({ kind, loadProblem }) => (loadProblem === undefined ? [] : [`${kind}: ${loadProblem}`]));
}

function connections(targets: readonly TargetEvidence[]): Judgement {
  const opened = sum(targets, ({ load }) => load?.connections.opened ?? 0);
  const failed = (target: TargetEvidence): number => (target.load?.lostBy.refused ?? 0) + target.raw.refused;
  const faults = targets.flatMap((target) => {
    const own = target.load?.ownFaults ?? 0;
    return [
      ...(failed(target) > 0 ? [`${target.kind}: ${failed(target)} refused or slower than 3 s`] : []),
      ...(own > 0 ? [`${target.kind}: this machine had no port or descriptor for a client ${own} times`] : []),
    ];
  });
  return none('failed attempts', sum(targets, failed), [...unmeasured(targets), ...faults], `${opened} opened`);
}

function lost(targets: readonly TargetEvidence[]): Judgement {
  const ok = sum(targets, ({ load, raw }) => (load?.requests.ok ?? 0) + raw.answered);
  const unanswered = ({ raw }: TargetEvidence): number => raw.sent - raw.answered;
  const faults = targets.flatMap((target) => {
    const by = Object.entries(target.load?.lostBy ?? {}).filter(([, count]) => count > 0);
    const first = target.load?.losses[0];
    const { wrong } = target.raw;
    return [
      ...by.map(([name, count]) => `${target.kind}: ${count} ${name}`),
      ...(first === undefined ? [] : [`the first one: ${first.detail}`]),
      ...(unanswered(target) > 0 ? [`${target.kind}: ${unanswered(target)} raw lines not answered`] : []),
      ...(wrong.length > 0 ? [`${target.kind}: raw answer ${wrong[0]}`] : []),
    ];
  });
  const total = sum(targets, (target) => (target.load?.requests.lost ?? 0) + unanswered(target));
  const notSent = sum(targets, ({ load }) => load?.notSent ?? 0);
  const right = `${ok} answered, whole and right${notSent > 0 ? `; ${notSent} never sent, the rate is too high` : ''}`;
  return none('requests', total, [...unmeasured(targets), ...faults], right);
}

function closed(targets: readonly TargetEvidence[]): Judgement {
  const of = ({ load, raw }: TargetEvidence): number => (load?.connections.closedByServer ?? 0) + raw.closed;
  const faults = targets.filter((target) => of(target) > 0).map((target) => `${target.kind}: ${of(target)}`);
  const right = 'no kept connection was ended by a server';
  return none('connections', sum(targets, of), [...unmeasured(targets), ...faults], right);
}

function handovers(targets: readonly TargetEvidence[]): Judgement {
  const failed = ({ handovers: { asked, completed } }: TargetEvidence): number => asked - completed;
  const asked = sum(targets, (target) => target.handovers.asked);
  const faults = targets.flatMap(({ kind, handovers: { failures } }) => failures.map((why) => `${kind}: ${why}`));
  const judged = none('failed handovers', sum(targets, failed), faults, `${asked} of ${asked} completed`);
  const isIdle = asked === 0 && targets.some(({ kind }) => kind !== 'steady');
  return isIdle ? { ...judged, passes: false, reason: 'no handover was made' } : judged;
}

function exits(targets: readonly TargetEvidence[]): Judgement {
  const faults = targets.flatMap(({ kind, generations, exit }) => [
    ...generations.flatMap(({ generation, pid, exitCode }) => {
      if (exitCode === 0) return [];
      const how = exitCode === undefined ? 'ended without a word' : `ended with exit code ${exitCode}`;
      return [`${kind}: generation ${generation} (pid ${pid}) ${how}`];
    }),
    ...(exit === 'exit code 0' ? [] : [`${kind}: the first process ended with ${exit ?? 'nothing we know'}`]),
  ]);
  const ended = sum(targets, ({ generations }) => generations.length);
  return none('bad exits', faults.length, faults, `${ended} generations ended with 0`);
}

/** What the client says was answered, and what the servers say they have answered, counted by other code. */
function counts(targets: readonly TargetEvidence[]): Judgement {
  const differences = targets.flatMap(({ kind, load, raw, answered }) => {
    if (answered === undefined) return [{ by: 1, text: `${kind}: the servers' count is not known` }];
    return [
      { what: 'requests', client: load?.requests.ok ?? 0, servers: answered.http },
      { what: 'raw lines', client: raw.answered, servers: answered.raw },
    ].flatMap(({ what, client, servers }) => {
      const text = `${kind}: the client counts ${client} ${what}, the servers ${servers}`;
      return client === servers ? [] : [{ by: Math.abs(client - servers), text }];
    });
  });
  const faults = [...unmeasured(targets), ...differences.map(({ text }) => text)];
  const total = sum(targets, ({ load, raw }) => (load?.requests.ok ?? 0) + raw.answered);
  const right = `client and servers both count ${total}`;
  return none(
    'difference',
    sum(differences, ({ by }) => by),
    faults,
    right,
  );
}

function executed(targets: readonly TargetEvidence[]): Judgement {
  const faults = targets.flatMap(({ kind, load }) => {
    if (load === undefined) return [];
    if (load.ledger === undefined) return [{ count: 1, text: `${kind}: no ledger` }];
    const wrong = Object.entries(load.ledger).filter(([, count]) => count > 0);
    return wrong.map(([name, count]) => ({ count, text: `${kind}: ${name} ${count}` }));
  });
  const texts = [...unmeasured(targets), ...faults.map(({ text }) => text)];
  return none(
    'requests',
    sum(faults, ({ count }) => count),
    texts,
    'the ledger has each request begun and ended once',
  );
}

const MEGABYTE = 1e6;

function memory({ samples }: Series, limit: number): Judgement {
  const points = samples.map(({ minutes, rssBytes }): Point => [minutes, rssBytes / MEGABYTE]);
  const slope = slopeOf(points);
  const common = { unit: 'MB a minute', bound: `upper bound < ${limit}` };
  if (slope === undefined || !Number.isFinite(slope.high)) return { ...common, ...tooFew(samples.length) };
  const interval = describe(slope, 2);
  const passes = slope.high < limit;
  if (passes) return { ...common, passes, number: slope.high, reason: interval };
  const why = slope.low > limit ? 'it grows' : 'not shown to be less: more samples narrow the interval';
  return { ...common, passes, number: slope.high, reason: `${why}: ${interval}` };
}

function descriptors({ samples }: Series): Judgement {
  const slope = slopeOf(samples.map(({ minutes, descriptors: count }): Point => [minutes, count]));
  const common = { unit: 'a minute', bound: 'upper bound <= 0, no more at the end' };
  if (slope === undefined || !Number.isFinite(slope.high)) return { ...common, ...tooFew(samples.length) };
  const ofSome = (some: readonly Sample[]): number => medianOf(some.map(({ descriptors: count }) => count));
  // One leaked once in a whole soak is no slope, and a leak.
  const [first, last] = [ofSome(samples.slice(0, LEAST_SAMPLES)), ofSome(samples.slice(-LEAST_SAMPLES))];
  const passes = slope.high <= 0 && last <= first;
  const why = slope.low > 0 ? 'they grow: ' : passes ? '' : last > first ? 'more than before: ' : 'not shown to stay: ';
  const reason = `${why}${first} at first, ${last} at last, ${describe(slope, 3)}`;
  return { ...common, passes, number: slope.high, reason };
}

function tooFew(samples: number): Pick<Judgement, 'passes' | 'number' | 'reason'> {
  return {
    passes: false,
    number: null,
    reason: `${samples} samples allow no bound: soak longer, or hand over more often`,
  };
}

function describe({ perMinute, low, high, samples, effectiveSamples }: Slope, digits: number): string {
  const [slope, from, to] = [perMinute, low, high].map((value) => value.toFixed(digits));
  const worth =
    Math.round(effectiveSamples) < samples ? `, worth ${Math.round(effectiveSamples)} independent ones` : '';
  return `${slope} (95 %: ${from} to ${to}) by ${samples} samples${worth}`;
}

function processes(targets: readonly TargetEvidence[]): Judgement {
  const faults = targets.flatMap(({ kind, alive: { most, atMost, mostAtRest, atRest } }) => [
    ...(most > atMost ? [`${kind}: ${most} at once, ${atMost} are right`] : []),
    ...(mostAtRest > atRest ? [`${kind}: ${mostAtRest} at rest, ${atRest} are right`] : []),
  ]);
  const tooMany = sum(targets, ({ alive: { most, atMost, mostAtRest, atRest } }) =>
    Math.max(0, most - atMost, mostAtRest - atRest),
  );
  const right = targets.map(({ kind, alive }) => `${kind} ${alive.mostAtRest}, at handovers ${alive.most}`).join('; ');
  return none('too many', tooMany, faults, right);
}

function left(targets: readonly TargetEvidence[]): Judgement {
  const faults = targets.flatMap(({ kind, left: things }) => things.map((thing) => `${kind}: ${thing}`));
  return none('things', faults.length, faults, 'no process, zombie, file or listener');
}

function kernel({ kernel: { before, after, atListeners } }: Evidence): Judgement {
  const overflows = after.ListenOverflows - before.ListenOverflows;
  const drops = after.ListenDrops - before.ListenDrops;
  const words = `ListenOverflows ${overflows}, ListenDrops ${drops}`;
  const dropped = overflows === 0 && drops === 0 ? (atListeners ?? 0) : (atListeners ?? drops);
  const others = drops > 0 ? ', none of them at these listeners (ss -ltm)' : '';
  const faults = dropped === 0 ? [] : [`${words} in this network namespace, ${atListeners ?? '?'} at these listeners`];
  return none('connections dropped', dropped, faults, words + others);
}
