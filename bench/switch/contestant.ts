// What takes its turn in `switch`: a running server that is told, again and again, to become a new process.

import type { Ending } from '../lib/ending.js';
import type { Program } from '../lib/program.js';

/** Moments of the clock all processes share, in nanoseconds; what a contestant can tell of the switch from inside. */
export interface Marks {
  /** The new process was started. */
  readonly spawn?: bigint;
  /** It accepts from here on. */
  readonly accepting?: bigint;
  /** Its first connection. */
  readonly accepted?: bigint;
  /** A standby was told to be in charge. */
  readonly commit?: bigint;
}

export interface Contestant {
  readonly port: number;
  /** Whatever comes before the switch and is not part of it. */
  prepare?(): Promise<void>;
  /** Begins the switch at once; resolves when whoever does it says that it is done. */
  trigger(): Promise<Marks>;
}

export interface Entrant {
  readonly name: string;
  /** `process`: what answers are signed with is a pid; `instance`: the process stays; `none`: nobody is replaced. */
  readonly replaces: 'process' | 'instance' | 'none';
  /** Of this package: the bars are about it. */
  readonly isOurs?: boolean;
  /** Why this machine cannot run it, and what would help. */
  readonly missing?: string | undefined;
  /** What it starts is ended by that. */
  start(ending: Ending): Promise<Contestant>;
}

/** A program that becomes a new process on SIGUSR2, and says when it is done. */
export function reloading(port: number, program: Program, done: RegExp): Contestant {
  return {
    port,
    async trigger() {
      program.signal('SIGUSR2');
      await program.says(done);
      return {};
    },
  };
}
