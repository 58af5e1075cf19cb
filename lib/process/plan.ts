// The plan of an upgrade, for an operator who wants to see its changes first (`handover upgrade --dry-run`).

import type { Release } from '../platform/release.js';
import type { ListenerStatus, Plan } from '../protocol/control-commands.js';
import type { Claims } from '../protocol/frames.js';

/** Compares commands and listeners of this process with those of a standby that was started for the plan. */
export function planOf(
  old: Plan['old'],
  { command, cwd }: Release,
  changes: readonly string[],
  listeners: readonly ListenerStatus[],
  { claimed, bound = [] }: Claims,
): Plan {
  const mine = listeners.map(({ name, address }) => ({ name, address }));
  const addressOf = new Map(mine.map(({ name, address }) => [name, address]));
  const boundNames = new Set(bound.map(({ name }) => name));
  return {
    old,
    new: { command, cwd },
    changes,
    listeners: {
      kept: mine.filter(({ name }) => claimed.includes(name)),
      added: bound.filter(({ name }) => !addressOf.has(name)).map(({ name, address }) => ({ name, address })),
      removed: mine.filter(({ name }) => !claimed.includes(name) && !boundNames.has(name)),
      changed: bound.flatMap(({ name, address }) => {
        const from = addressOf.get(name);
        return from === undefined ? [] : [{ name, from, to: address }];
      }),
    },
    wasTried: true,
  };
}
