// What an upgrade would do, for an operator who wants to look first.

import type { Release } from '../platform/release.js';
import type { ListenerStatus, Plan } from '../protocol/control-commands.js';
import type { Claims } from '../protocol/frames.js';

/** From what a successor that was started for it did with the listeners. */
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
