// `handover hammer URL`: puts a load on any server and accounts for every request.
import type { Context } from './commands.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import type { Totals } from './hammer/fleet.js';
import { brokenLimits } from './hammer/limits.js';
import { type HammerOptions, type HammerValues, readOptions } from './hammer/options.js';
import { detailsOf, type Finished, metricsOf, percentile, resultOf } from './hammer/result.js';
import { run as runLoad } from './hammer/run.js';
import { describeRun, LiveView } from './hammer/view.js';
import type { Output } from './output.js';

/** Ends with 1 when something was lost, a limit is broken or a trigger failed. */
export async function run({ options: values, args, output }: Context): Promise<ExitCode> {
  const options = readOptions(values as HammerValues, args);
  return conclude(options, await measure(options, output), output);
}

async function measure(options: HammerOptions, output: Output): Promise<Finished> {
  if (output.isJson) {
    return await runLoad(options, { started: () => {}, tick: (now, since) => output.json(tickOf(now, since)) });
  }
  const view = new LiveView(output);
  try {
    return await runLoad(options, { started: (fleet) => view.start(fleet), tick: () => view.draw() });
  } finally {
    view.end();
  }
}

function tickOf(now: number, { counts, lostBy, latency, maxLatencyMs, sightings }: Totals): object {
  return {
    type: 'tick',
    atMs: Math.round(now),
    ok: counts.ok,
    lost: counts.lost,
    lostBy: Object.fromEntries(Object.entries(lostBy).filter(([, count]) => count > 0)),
    opened: counts.opened,
    closedByServer: counts.closedByServer,
    latencyMs: { p50: percentile(latency, 50), p99: percentile(latency, 99), max: maxLatencyMs },
    answersBy: Object.fromEntries([...sightings.values()].map(({ id, answers }) => [id, answers])),
  };
}

/** Prints what was found, and says how it is to be taken. */
function conclude({ limits, allowsLost }: HammerOptions, finished: Finished, output: Output): ExitCode {
  const broken = brokenLimits(limits, metricsOf(finished));
  const hasFailedTrigger = finished.triggers.some(({ error }) => error !== undefined);
  output.json({ ...detailsOf(finished), broken });
  output.json(resultOf(finished));
  output.line(describeRun(finished));
  for (const limit of broken) output.line(`limit        ${limit}`);
  const hasLost = finished.totals.counts.lost > 0 && !allowsLost;
  return broken.length > 0 || hasFailedTrigger || hasLost ? EXIT.failed : EXIT.ok;
}
