// The commands of the control socket in one table: the parameters of each, which kind of process answers it, and the type of
// the answer. A command is a call of rpc.ts by its name in the table.
import { expectFlag, expectInteger, expectString } from '../fd/arguments.js';
import type { Json, Params } from './rpc.js';
import type { Schema } from './schema.js';

/** The type of each kind of parameter. */
interface ParameterKinds {
  /** False where it is absent. */
  readonly flag: boolean;
  readonly text: string | undefined;
  /** 0 where it is absent. */
  readonly milliseconds: number;
  readonly count: number;
}

export type ParameterKind = keyof ParameterKinds;
type DeclaredParams = Readonly<Record<string, ParameterKind>>;
export type ParamsOf<D extends DeclaredParams> = { readonly [P in keyof D]: ParameterKinds[D[P]] };

const CHECKS: { readonly [K in ParameterKind]: Schema<ParameterKinds[K]> } = {
  flag: (value, where) => expectFlag(where, value),
  text: (value, where) => (value === undefined ? undefined : expectString(where, value)),
  milliseconds: (value, where) => expectInteger(where, value ?? 0, 0),
  count: (value, where) => expectInteger(where, value, 1),
};

/** Every command. A newer version may add commands, and parameters that a caller may leave out. */
export const CONTROL_COMMANDS = {
  status: { by: ['process', 'supervisor'], params: {} },
  plan: { by: ['process', 'supervisor'], params: {} },
  upgrade: { by: ['process', 'supervisor'], params: { ifChanged: 'flag', profile: 'text' } },
  abort: { by: ['process', 'supervisor'], params: {} },
  drain: { by: ['process', 'supervisor'], params: { delay: 'milliseconds' } },
  scale: { by: ['supervisor'], params: { workers: 'count' } },
} as const;

/** The kinds of processes that have a control socket. */
export type Answerer = 'process' | 'supervisor';

/** The answer to each command. */
export interface ControlAnswers {
  readonly status: Status;
  readonly plan: Plan;
  readonly upgrade: UpgradeAnswer | Unchanged;
  readonly abort: {
    /** The phase in which the handover was given up; absent where none was under way. */
    readonly phase?: string | undefined;
    /** From a supervisor: the workers that were not replaced. */
    readonly workers?: readonly number[] | undefined;
  };
  readonly drain: {
    readonly durationMs?: number | undefined;
    /** `moved` and `cut` come from a process only: connections that migrated, and connections cut at the deadline. */
    readonly moved?: number | undefined;
    readonly cut?: number | undefined;
  };
  readonly scale: { readonly workers: number };
}

/** Events that a process sends to the command line while it works on a command. */
export interface ControlEvents {
  readonly phase: {
    readonly phase: string;
    readonly generation?: number | undefined;
    /** From a supervisor: the number of the worker that was replaced. */
    readonly worker?: number | undefined;
  };
  /** How the new release differs from the one that runs, one text for each difference. */
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

/** The names of the commands that this kind of process answers. */
export type AnsweredBy<A extends Answerer> = {
  readonly [N in ControlName]: A extends (typeof CONTROL_COMMANDS)[N]['by'][number] ? N : never;
}[ControlName];

interface Declaration {
  readonly by: readonly Answerer[];
  readonly params: DeclaredParams;
}

const DECLARATIONS: Readonly<Record<keyof ControlAnswers, Declaration>> = CONTROL_COMMANDS;

/** Checks the parameters by the table, and ignores others. @throws TypeError, RangeError naming the parameter */
export function controlParams<N extends ControlName>(name: N, given: Params): ControlParams<N> {
  return checkParams(DECLARATIONS[name].params, given) as ControlParams<N>;
}

/** As {@link controlParams}, by a declaration outside the table. */
export function checkParams<D extends DeclaredParams>(declared: D, given: Params): ParamsOf<D> {
  const entries = Object.entries(declared).map(([parameter, kind]) => [
    parameter,
    CHECKS[kind](given[parameter], parameter),
  ]);
  return Object.fromEntries(entries) as ParamsOf<D>;
}

export type UpgradeAnswer = {
  /** The generation in charge now; from a supervisor: the newest one of its workers. */
  readonly generation: number;
  /** This field and the next four come from a process only. */
  readonly pid?: number | undefined;
  readonly phases?: readonly Params[] | undefined;
  readonly claimed?: readonly string[] | undefined;
  readonly unclaimed?: readonly string[] | undefined;
  readonly bound?: readonly PlannedListener[] | undefined;
  /** From a supervisor only: the outcome for each worker. */
  readonly workers?: readonly Params[] | undefined;
};

/** No handover took place, because the command leads to the release that runs. */
export type Unchanged = { readonly isUnchanged: true; readonly generation: number; readonly pid: number };

/** The outcome for each worker that was replaced. */
export type RollAnswer = { readonly generation: number; readonly workers: readonly Params[] };

/** The arbiter of a process, or of one slot of a supervisor. */
export type ChargeStatus = {
  /** Inode of the locked file, by which the command line finds every process that has the file open. */
  readonly inode: string;
  readonly slot?: number | undefined;
  /** The process that took charge last, as the file says. */
  readonly holder?: { readonly generation: number; readonly pid: number } | undefined;
  /** Pids of the processes in charge. The command line fills in this list and the next two, from the locks in /proc. */
  readonly inCharge?: readonly number[] | undefined;
  /** Pids of the processes that drain and may take the charge back. */
  readonly mayTakeBack?: readonly number[] | undefined;
  /** Pids of the processes that have the file open and no lock: a successor before COMMIT, a supervisor. */
  readonly others?: readonly number[] | undefined;
};

export type ListenerStatus = {
  readonly name: string;
  /** The address that the app asked for, for example `tcp://*:8080`. */
  readonly address: string;
  /** The address that the kernel bound, for example `127.0.0.1:34567` for port 0. */
  readonly bound?: string | undefined;
  readonly backlogAsked?: number | undefined;
  /** The backlog as net.core.somaxconn limits it; undefined where the kernel does not say, as for Unix listeners. */
  readonly backlogEffective?: number | undefined;
  /** Connections that wait to be accepted. */
  readonly queueDepth?: number | undefined;
  readonly reusePort: boolean;
  /** Inode of the socket, by which the command line finds every process that holds the listener. */
  readonly inode: string;
  /** Filled in by the command line, because the search through /proc takes too long for a process that serves. */
  readonly pids?: readonly number[] | undefined;
};

export type GenerationStatus = { readonly generation: number; readonly pid: number; readonly connections: number };
export type DrainingStatus = GenerationStatus & { readonly ageMs: number };

/** The status of one worker of a supervisor. */
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
  /** Open connections of each generation, the newest first. */
  readonly connections: readonly GenerationStatus[];
  readonly draining: readonly DrainingStatus[];
  /** From a process: its arbiter; from a supervisor: one for each slot. Absent where the platform or a predecessor has none. */
  readonly charges?: readonly ChargeStatus[] | undefined;
  readonly control?: string | undefined;
  readonly takeover?: string | undefined;
  readonly healthEndpoint?: string | undefined;
  readonly workers?: readonly WorkerStatus[] | undefined;
  /** The roll that is under way or paused. Its fields are for people to read. */
  readonly roll?: Readonly<Record<string, Json | undefined>> | undefined;
};

export type PlannedListener = { readonly name: string; readonly address: string };

export type Plan = {
  readonly old: { readonly command: readonly string[]; readonly cwd: string };
  readonly new: { readonly command: readonly string[]; readonly cwd: string };
  /** How the new release differs from the one that runs; empty where it does not. */
  readonly changes: readonly string[];
  readonly listeners: {
    readonly kept: readonly PlannedListener[];
    readonly added: readonly PlannedListener[];
    /** Open in this process, and not claimed by the new release. */
    readonly removed: readonly PlannedListener[];
    /** Listeners that have another address in the new release. */
    readonly changed: readonly { readonly name: string; readonly from: string; readonly to: string }[];
  };
  /** Whether the new release was started as a standby for the plan. A supervisor compares the files only. */
  readonly wasTried: boolean;
};
