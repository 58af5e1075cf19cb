// The commands of the control socket, in one table: what each takes and which kind of process answers it; and what it
// answers. They travel as calls of rpc.ts, by these names.
import { expectFlag, expectInteger, expectString } from '../fd/arguments.js';
import type { Json, Params } from './rpc.js';
import type { Schema } from './schema.js';

/** What a parameter is, by the name of its kind. */
interface ParameterKinds {
  /** Absent: false. */
  readonly flag: boolean;
  readonly text: string | undefined;
  /** Absent: 0. */
  readonly milliseconds: number;
  readonly count: number;
}

type ParameterKind = keyof ParameterKinds;

const CHECKS: { readonly [K in ParameterKind]: Schema<ParameterKinds[K]> } = {
  flag: (value, where) => expectFlag(where, value),
  text: (value, where) => (value === undefined ? undefined : expectString(where, value)),
  milliseconds: (value, where) => expectInteger(where, value ?? 0, 0),
  count: (value, where) => expectInteger(where, value, 1),
};

/** Every command. A newer version may add one, or a parameter that may be left out. */
export const CONTROL_COMMANDS = {
  status: { by: ['process', 'supervisor'], params: {} },
  plan: { by: ['process', 'supervisor'], params: {} },
  upgrade: { by: ['process', 'supervisor'], params: { ifChanged: 'flag', profile: 'text' } },
  abort: { by: ['process', 'supervisor'], params: {} },
  drain: { by: ['process', 'supervisor'], params: { delay: 'milliseconds' } },
  resume: { by: ['supervisor'], params: {} },
  rollback: { by: ['supervisor'], params: {} },
  scale: { by: ['supervisor'], params: { workers: 'count' } },
} as const;

/** What a control socket belongs to. */
export type Answerer = 'process' | 'supervisor';

/** What each command answers. */
export interface ControlAnswers {
  readonly status: Status;
  readonly plan: Plan;
  readonly upgrade: UpgradeAnswer | Unchanged;
  readonly abort: {
    /** Absent where nothing was under way. */
    readonly phase?: string | undefined;
    /** Of a supervisor: those that were not replaced. */
    readonly workers?: readonly number[] | undefined;
  };
  readonly drain: {
    /** The last two are a process' alone. */
    readonly durationMs?: number | undefined;
    readonly moved?: number | undefined;
    readonly cut?: number | undefined;
  };
  readonly resume: RollAnswer;
  readonly rollback: RollAnswer;
  readonly scale: { readonly workers: number };
}

/** What a process tells an operator while a command is under way. */
export interface ControlEvents {
  readonly phase: {
    readonly phase: string;
    readonly generation?: number | undefined;
    /** Of a supervisor: the worker it is about. */
    readonly worker?: number | undefined;
  };
  /** Why the release counts as changed. */
  readonly changes: { readonly changes: readonly string[] };
}

export type ControlName = keyof ControlAnswers;
export type ControlEvent = {
  readonly [E in keyof ControlEvents]: { readonly name: E } & ControlEvents[E];
}[keyof ControlEvents];

type Declared<N extends ControlName> = (typeof CONTROL_COMMANDS)[N]['params'];

export type ControlParams<N extends ControlName> = {
  readonly [P in keyof Declared<N>]: Declared<N>[P] extends ParameterKind ? ParameterKinds[Declared<N>[P]] : never;
};

/** The commands that a process, or a supervisor, answers. */
export type AnsweredBy<A extends Answerer> = {
  readonly [N in ControlName]: A extends (typeof CONTROL_COMMANDS)[N]['by'][number] ? N : never;
}[ControlName];

interface Declaration {
  readonly by: readonly Answerer[];
  readonly params: Readonly<Record<string, ParameterKind>>;
}

const DECLARATIONS: Readonly<Record<keyof ControlAnswers, Declaration>> = CONTROL_COMMANDS;

/** The parameters as the table declares them; others are ignored. @throws TypeError, RangeError naming the parameter */
export function controlParams<N extends ControlName>(name: N, given: Params): ControlParams<N> {
  return Object.fromEntries(
    Object.entries(DECLARATIONS[name].params).map(([parameter, kind]) => [
      parameter,
      CHECKS[kind](given[parameter], parameter),
    ]),
  ) as ControlParams<N>;
}

export type UpgradeAnswer = {
  /** The generation in charge now; of a supervisor the newest one. */
  readonly generation: number;
  /** These are a process'. */
  readonly pid?: number | undefined;
  readonly phases?: readonly Params[] | undefined;
  readonly claimed?: readonly string[] | undefined;
  readonly unclaimed?: readonly string[] | undefined;
  readonly bound?: readonly PlannedListener[] | undefined;
  /** This is a supervisor's: what became of each. */
  readonly workers?: readonly Params[] | undefined;
};

/** Nothing was done: the release is the one that runs. */
export type Unchanged = { readonly isUnchanged: true; readonly generation: number; readonly pid: number };

/** What became of each worker that was replaced. */
export type RollAnswer = { readonly generation: number; readonly workers: readonly Params[] };

/** The arbiter of a process, or of a slot of a supervisor. */
export type ChargeStatus = {
  /** Of the file that is locked: by which every process that abides by it is found. */
  readonly inode: string;
  readonly slot?: number | undefined;
  /** Who took charge last. */
  readonly holder?: { readonly generation: number; readonly pid: number } | undefined;
  /** As the kernel has it; these are filled in by whoever asks. Has the charge: */
  readonly inCharge?: readonly number[] | undefined;
  /** Drain, and may take it back. */
  readonly mayTakeBack?: readonly number[] | undefined;
  /** Have no part in it: a successor that was not committed, a supervisor. */
  readonly others?: readonly number[] | undefined;
};

export type ListenerStatus = {
  readonly name: string;
  /** As asked for, for example `tcp://*:8080`. */
  readonly address: string;
  /** What the kernel bound, where that is another: `127.0.0.1:34567` for port 0. */
  readonly bound?: string | undefined;
  readonly backlogAsked?: number | undefined;
  /** After net.core.somaxconn; undefined where the kernel does not tell, as of Unix listeners. */
  readonly backlogEffective?: number | undefined;
  /** Connections that wait to be accepted. */
  readonly queueDepth?: number | undefined;
  readonly reusePort: boolean;
  /** By which every process that holds it is found. */
  readonly inode: string;
  /** Filled in by whoever asks: looking for them takes too long for a process that serves. */
  readonly pids?: readonly number[] | undefined;
};

export type GenerationStatus = { readonly generation: number; readonly pid: number; readonly connections: number };
export type DrainingStatus = GenerationStatus & { readonly ageMs: number };

/** What a supervisor says of each worker. */
export type WorkerStatus = GenerationStatus & {
  readonly ageMs: number;
  readonly phase: string;
  readonly restarts?: number | undefined;
};

export type Status = {
  readonly kind: 'process' | 'supervisor';
  readonly version: string;
  readonly generation: number;
  readonly pid: number;
  readonly ageMs: number;
  /** `loading`, `ready`, `serving`, `draining`, `closing`, or the phase of the handover that is under way. */
  readonly phase: string;
  readonly isInCharge: boolean;
  readonly listeners: readonly ListenerStatus[];
  /** Open connections, the newest generation first. */
  readonly connections: readonly GenerationStatus[];
  readonly draining: readonly DrainingStatus[];
  /** One, or one for each slot; none where the platform or a predecessor has none. */
  readonly charges?: readonly ChargeStatus[] | undefined;
  readonly control?: string | undefined;
  readonly takeover?: string | undefined;
  readonly healthEndpoint?: string | undefined;
  readonly workers?: readonly WorkerStatus[] | undefined;
  /** A roll under way or paused, in the supervisor's own words. */
  readonly roll?: Readonly<Record<string, Json | undefined>> | undefined;
};

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
