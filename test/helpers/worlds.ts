// Looks at every world that a model allows, one step after the other, and says how a wrong one comes about.

export interface Step<World> {
  readonly name: string;
  /** It happens sooner or later, if nothing else changes that; the others may never happen. */
  readonly isDue: boolean;
  run(world: World): void;
}

export interface Finding {
  readonly what: string;
  readonly path: readonly string[];
}

export interface Model<World> {
  /** What can happen next. A step that throws is a finding. */
  steps(world: World): readonly Step<World>[];
  /** What must never be. */
  wrongIn(world: World, steps: readonly Step<World>[]): string | undefined;
  /** All that tells one world from another. */
  keyOf(world: World): string;
  copyOf(world: World): World;
}

export interface Explored {
  readonly worlds: number;
  /** Undefined: no world is wrong. */
  readonly finding: Finding | undefined;
}

/** A model that does not end is wrong itself. */
const MOST_WORLDS = 3_000_000;

export function explore<World>(first: World, model: Model<World>): Explored {
  const start = model.keyOf(first);
  const cameFrom = new Map<string, { readonly key: string; readonly step: string } | undefined>([[start, undefined]]);
  const pathTo = (key: string): string[] => {
    const from = cameFrom.get(key);
    return from ? [...pathTo(from.key), from.step] : [];
  };
  const queue = [first];
  for (let world = queue.pop(); world !== undefined; world = queue.pop()) {
    const key = model.keyOf(world);
    const steps = model.steps(world);
    const wrong = model.wrongIn(world, steps);
    if (wrong !== undefined) return { worlds: cameFrom.size, finding: { what: wrong, path: pathTo(key) } };
    for (const step of steps) {
      const after = model.copyOf(world);
      try {
        step.run(after);
      } catch (error) {
        const what = (error as Error).message;
        return { worlds: cameFrom.size, finding: { what, path: [...pathTo(key), step.name] } };
      }
      const next = model.keyOf(after);
      if (cameFrom.has(next)) continue;
      if (cameFrom.size >= MOST_WORLDS) throw new Error(`more than ${MOST_WORLDS} worlds`);
      cameFrom.set(next, { key, step: step.name });
      queue.push(after);
    }
  }
  return { worlds: cameFrom.size, finding: undefined };
}

/** The state that follows by a table. @throws Error the event may not happen in that state */
export function next<S extends string, E extends string>(
  table: Readonly<Record<S, Readonly<Partial<Record<E, S>>>>>,
  state: S,
  event: E,
): S {
  const to = table[state][event];
  if (to === undefined) throw new Error(`${event} while ${state}`);
  return to;
}
