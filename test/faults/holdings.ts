// What a process of a case is and holds, as /proc shows it.
import { processStat } from '../../lib/fd/proc.js';
import { openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';

/** Descriptors by what they are, of a process without connections. */
export type Holding = ReadonlyMap<string, number>;

/** The letter of proc_pid_stat(5). */
export function stateOf(pid: number): string | undefined {
  return processStat(pid)?.state;
}

export function holdingOf(pid: number): Holding {
  const holding = new Map<string, number>();
  for (const target of openDescriptors(pid).values()) {
    const what = target.replace(/:\[\d+\]$/, '');
    holding.set(what, (holding.get(what) ?? 0) + 1);
  }
  return holding;
}

/** Once looks agree for a while: the connection of the last question has been closed. */
export async function settledHolding(pid: number): Promise<Holding> {
  let last = holdingOf(pid);
  let agreed = 0;
  const look = (): boolean => {
    const holding = holdingOf(pid);
    agreed = differences(last, holding).length === 0 ? agreed + 1 : 0;
    last = holding;
    return agreed > 3;
  };
  await until(look, { what: `the descriptors of ${pid} to settle`, interval: 25 });
  return last;
}

/** One line for each kind of descriptor of which there are more or fewer. */
export function differences(before: Holding, after: Holding): string[] {
  const all = new Set([...before.keys(), ...after.keys()]);
  return [...all]
    .filter((what) => before.get(what) !== after.get(what))
    .map((what) => `${after.get(what) ?? 0} ${what} instead of ${before.get(what) ?? 0}`);
}
