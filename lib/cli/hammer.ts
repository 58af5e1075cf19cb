// `handover hammer URL`: puts a load on any server and accounts for every request.
import type { Fleet, Totals } from './hammer/fleet.js';
import { brokenLimits } from './hammer/limits.js';
import { type HammerOptions, parseOptions, UsageError } from './hammer/options.js';
import { detailsOf, type Finished, metricsOf, percentile, resultOf } from './hammer/result.js';
import { run, type Watcher } from './hammer/run.js';
import { hammerHelp } from './hammer/usage.js';
import { describeRun, LiveView } from './hammer/view.js';

/** Returns the exit code: 0; 1 when something was lost, a limit is broken or a trigger failed; 2 for a wrong usage. */
export async function hammer(argv: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(argv);
    if (options.isHelp) {
      process.stdout.write(`${hammerHelp()}\n`);
      return 0;
    }
    return conclude(options, await measure(options));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}; see handover hammer --help\n`);
    return 2;
  }
}

async function measure(options: HammerOptions): Promise<Finished> {
  if (options.isJson) return await run(options, new JsonLines());
  const view = new LiveView(process.stdout);
  try {
    return await run(options, { started: (fleet) => view.start(fleet), tick: () => view.draw() });
  } finally {
    view.end();
  }
}

class JsonLines implements Watcher {
  started(_fleet: Fleet): void {}

  tick(now: number, { counts, lostBy, latency, maxLatencyMs, sightings }: Totals): void {
    json({
      type: 'tick',
      atMs: Math.round(now),
      ok: counts.ok,
      lost: counts.lost,
      lostBy: Object.fromEntries(Object.entries(lostBy).filter(([, count]) => count > 0)),
      opened: counts.opened,
      closedByServer: counts.closedByServer,
      latencyMs: { p50: percentile(latency, 50), p99: percentile(latency, 99), max: maxLatencyMs },
      answersBy: Object.fromEntries([...sightings.values()].map(({ id, answers }) => [id, answers])),
    });
  }
}

/** Prints what was found, and says how it is to be taken. */
function conclude({ limits, allowsLost, isJson }: HammerOptions, finished: Finished): number {
  const broken = brokenLimits(limits, metricsOf(finished));
  const failed = finished.triggers.filter(({ error }) => error !== undefined).length;
  if (isJson) {
    json({ ...detailsOf(finished), broken });
    json(resultOf(finished));
  } else {
    process.stdout.write(`${describeRun(finished)}\n`);
    for (const limit of broken) process.stdout.write(`limit        ${limit}\n`);
  }
  const { lost } = finished.totals.counts;
  return broken.length > 0 || failed > 0 || (lost > 0 && !allowsLost) ? 1 : 0;
}

function json(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
