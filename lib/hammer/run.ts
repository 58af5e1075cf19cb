// One run from the first connection to the last answer: threads, triggers, kernel counters, ledger.
import { Fleet, Totals } from './fleet.js';
import { findSwitches, type Switch } from './identify.js';
import { kernelDifference, readKernel } from './kernel.js';
import { type LedgerResult, openLedger, readLedger } from './ledger.js';
import { type HammerOptions, resolveTarget } from './options.js';
import type { Finished } from './result.js';
import { Trigger, type TriggerOptions } from './trigger.js';

/** How often {@link Watcher.tick} is called; ms. */
const TICK = 250;
/** Milliseconds before and after a switch that are searched for gaps. */
const AROUND = 1_000;
const NO_TRIGGER: TriggerOptions = { signalName: 'SIGUSR2' };

/** Observes a run. */
export interface Watcher {
  /** The first connection is about to be made. */
  started(fleet: Fleet): void;
  /** Called regularly with the counts since the last tick. */
  tick(now: number, since: Totals): void;
}

/** Runs to the end. A SIGINT ends the run early; a second one ends this process. */
export async function run(options: HammerOptions, watcher: Watcher): Promise<Finished> {
  const { url, trigger: triggering, ledger } = options;
  const plan = { ...options.plan, target: await resolveTarget(options.plan.target) };
  const logStart = ledger === undefined ? 0 : await openLedger(ledger);
  let since = new Totals();
  const fleet = new Fleet(plan, (delta, coveredMs) => since.add(delta, coveredMs));
  const newest = (): string | undefined => fleet.totals.newest();
  const trigger = new Trigger(triggering ?? NO_TRIGGER, () => fleet.now, newest);
  const tick = (): void => {
    watcher.tick(fleet.now, since);
    since = new Totals();
  };
  let ticking: NodeJS.Timeout | undefined;
  try {
    await fleet.ready();
    const kernelBefore = readKernel();
    fleet.start();
    watcher.started(fleet);
    ticking = setInterval(tick, TICK);
    if (triggering !== undefined) trigger.start(plan.duration);
    const elapsed = await untilEnd(fleet, plan.duration);
    trigger.stop();
    fleet.stop();
    await fleet.done;
    await trigger.finished();
    const kernel = kernelDifference(kernelBefore, readKernel());
    const { lostNumbers: lost, unusedNumbers: unused, sightings } = fleet.totals;
    const triggers = trigger.fired;
    const switches = findSwitches(
      sightings.values(),
      triggers.map(({ atMs }) => atMs),
      elapsed,
    );
    return {
      url,
      plan,
      startedAt: fleet.startedAt,
      totals: fleet.totals,
      elapsed,
      // Before the first success the client is still starting. Without any success the whole run is a gap.
      longestGapMs: fleet.longestGap(fleet.firstSuccess ?? 0, elapsed),
      switches,
      switchGapsMs: switches.map((found) => gapAround(found, fleet, elapsed)),
      triggers,
      kernel,
      ...(ledger && (await tryLedger(() => readLedger(ledger, logStart, { byThread: fleet.issued, lost, unused })))),
    };
  } finally {
    trigger.stop();
    clearInterval(ticking);
    if (ticking !== undefined) tick();
    await fleet.end();
  }
}

/** Reports an unreadable log as an error beside the result, which must not be lost. */
async function tryLedger(
  read: () => Promise<LedgerResult>,
): Promise<{ readonly ledger: LedgerResult } | { readonly ledgerError: string }> {
  try {
    return { ledger: await read() };
  } catch (error) {
    return { ledgerError: (error as Error).message };
  }
}

/** The longest gap around a switch: from its trigger until a second after the later of last old and first new answer. */
function gapAround({ atMs, triggeredAtMs, overlapMs }: Switch, fleet: Fleet, elapsed: number): number {
  const from = triggeredAtMs ?? Math.min(atMs, atMs + overlapMs) - AROUND;
  return fleet.longestGap(Math.max(0, from), Math.min(elapsed, Math.max(atMs, atMs + overlapMs) + AROUND));
}

/** Resolves with the time when requests end: the time is up, the last is answered, or the user pressed Ctrl-C. */
async function untilEnd(fleet: Fleet, duration: number): Promise<number> {
  let enough = (): void => {};
  let timer: NodeJS.Timeout | undefined;
  const isOver = new Promise<void>((resolve) => {
    enough = resolve;
    timer = setTimeout(resolve, duration);
  });
  process.once('SIGINT', enough);
  try {
    const byItself = fleet.done.then(() => true);
    return (await Promise.race([isOver, byItself])) === true ? fleet.endedAt : fleet.now;
  } finally {
    clearTimeout(timer);
    process.removeListener('SIGINT', enough);
  }
}
