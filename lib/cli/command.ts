// What a command is, and what it is given when it runs.
import type { Output } from '../terminal/output.js';

export interface Option {
  readonly type: 'string' | 'boolean';
  /** What stands for its value in the help. */
  readonly value?: string;
  /** May be given more than once. */
  readonly multiple?: boolean;
  readonly help: string;
}

export type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

/** What a command gets. */
export interface Context {
  readonly options: Values;
  readonly args: readonly string[];
  readonly output: Output;
  readonly variables: NodeJS.ProcessEnv;
}

/** Resolves with the exit code: one of `ExitCode`, or 128 and the number of the signal that ended it. */
export type Run = (context: Context) => number | Promise<number>;

export interface Command {
  /** Arguments behind the options, for the help; absent where it takes none. */
  readonly args?: string;
  readonly summary: string;
  readonly details?: string;
  /** Where they are others than those of every command. */
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

/** What every command takes that asks a process. */
export const COMMON_OPTIONS: Command['options'] = { control: CONTROL_OPTION, json: JSON_OPTION };
