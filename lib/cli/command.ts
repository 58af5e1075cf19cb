// The type of a command, and of the context in which it runs.
import type { Output } from '../terminal/output.js';

export interface Option {
  readonly type: 'string' | 'boolean';
  /** Placeholder of its value in the help. */
  readonly value?: string;
  /** May be given more than once. */
  readonly multiple?: boolean;
  readonly help: string;
}

export type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

/** The context of a running command. */
export interface Context {
  readonly options: Values;
  readonly args: readonly string[];
  readonly output: Output;
  readonly variables: NodeJS.ProcessEnv;
}

/** Resolves with the exit code: one of `ExitCode`, or 128 and the number of the signal that ended it. */
export type Run = (context: Context) => number | Promise<number>;

export interface Command {
  /** Arguments behind the options, for the help; absent for a command without arguments. */
  readonly args?: string;
  readonly summary: string;
  readonly details?: string;
  /** Exit codes for the help, where they differ from the common ones. */
  readonly exitCodes?: string;
  readonly options: Readonly<Record<string, Option>>;
  readonly run: Run;
}

/** A command under its name in the table. */
export interface NamedCommand extends Command {
  readonly name: string;
}

export const JSON_OPTION: Option = { type: 'boolean', help: 'lines of JSON instead of text' };
export const CONTROL_OPTION: Option = {
  type: 'string',
  value: 'PATH',
  help: 'the control socket; else HANDOVER_CONTROL, else the only *.sock in $XDG_RUNTIME_DIR/handover or /run/handover',
};

/** Options of every command that asks a process. */
export const COMMON_OPTIONS: Command['options'] = { control: CONTROL_OPTION, json: JSON_OPTION };
