// What an upgrade would do, for an operator who wants to look first.

import type { Release } from '../platform/release.js';
import type { Claims } from '../protocol/frames.js';
import type { ListenerStatus } from './status.js';

export type PlannedListener = { readonly name: string; readonly address: string };

export type Plan = {
  readonly old: { readonly command: readonly string[]; readonly cwd: string };
  readonly new: { readonly command: readonly string[]; readonly cwd: string };
  /** Why the release counts as changed; empty: it does not. */
  readonly changes: readonly string[];
  readonly listeners: {
    readonly kept: readonly PlannedListener[];
    readonly added: readonly PlannedListener[];
    /** Open in this process, not wanted by the new one. */
    readonly removed: readonly PlannedListener[];
    /** The same name at another address. */
    readonly changed: readonly { readonly name: string; readonly from: string; readonly to: string }[];
  };
  /** Whether the new release was started for it; a supervisor only looks at the files. */
  readonly wasTried: boolean;
};

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
