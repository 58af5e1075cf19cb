// The table of commands: what each is called, takes and loads. Parsing and help are made from it.
import type { ExitCode } from './exit-codes.js';
import type { Output } from './output.js';

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
  /** All that stood behind the name of the command, for one that parses it itself. */
  readonly argv: readonly string[];
  readonly output: Output;
  readonly variables: NodeJS.ProcessEnv;
}

export type Run = (context: Context) => ExitCode | Promise<ExitCode>;

export interface Command {
  readonly name: string;
  /** Arguments behind the options, for the help; absent where it takes none. */
  readonly args?: string;
  readonly summary: string;
  readonly details?: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Its module is loaded only when it runs. */
  readonly load: () => Promise<{ readonly run: Run }>;
}

export const JSON_OPTION: Option = { type: 'boolean', help: 'lines of JSON instead of text' };
export const CONTROL_OPTION: Option = {
  type: 'string',
  value: 'PATH',
  help: 'the control socket; else HANDOVER_CONTROL, else the only *.sock in $XDG_RUNTIME_DIR/handover or /run/handover',
};

const COMMON = { control: CONTROL_OPTION, json: JSON_OPTION } as const;

// `handover run` (lib/cli/run.ts) belongs first in this list.
export const COMMANDS: readonly Command[] = [
  {
    name: 'upgrade',
    summary: 'hand over to a new process, and wait until it is in charge',
    details: 'Shows the phases as they happen. It goes on when this command is interrupted.',
    options: {
      'dry-run': {
        type: 'boolean',
        help: 'start the new release as a standby, say what would change, and end it; nothing is handed over',
      },
      'if-changed': {
        type: 'boolean',
        help: 'do nothing when the command leads to the same files (path, size, time) and package versions as at the start',
      },
      ...COMMON,
    },
    load: () => import('./upgrade.js'),
  },
  {
    name: 'status',
    summary: 'generation, phase, listeners and their queues, connections, what drains',
    options: COMMON,
    load: () => import('./status.js'),
  },
  {
    name: 'drain',
    summary: 'end the process politely, and wait until its last connection has ended',
    details: 'For a preStop hook: /readyz says 503 at once, connections are accepted until the delay is over.',
    options: {
      delay: {
        type: 'string',
        value: 'SECONDS',
        help: 'serve on for so long, not ready, until the load balancers know (default 0)',
      },
      ...COMMON,
    },
    load: () => import('./drain.js'),
  },
  {
    name: 'doctor',
    summary: 'look for what makes a handover refuse or lose connections on this machine',
    options: {
      root: {
        type: 'string',
        value: 'DIRECTORY',
        help: 'where /proc, /sys and the sockets are looked for (default /)',
      },
      ...COMMON,
    },
    load: () => import('./doctor.js'),
  },
  {
    name: 'explain',
    args: '[CODE]',
    summary: 'what an error code means, whether the old process still serves, and what to do',
    options: { json: JSON_OPTION },
    load: () => import('./explain.js'),
  },
];
