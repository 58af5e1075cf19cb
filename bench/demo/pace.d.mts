// The type of pace.mjs, for its test.
import type { Pace as HammerPace, Starter } from '../../dist/hammer/pace.js';

export class Pace implements HammerPace {
  constructor(clock: () => number, think: number);
  next(start: Starter, finished: () => void): void;
  another(): undefined;
  ask(): Promise<void>;
  stop(): void;
}
