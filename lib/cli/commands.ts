// The table of commands: what each is called, takes and loads. Parsing and help are made from it.

import { HAMMER_OPTIONS } from '../hammer/usage.js';
import { REPORT_OPTIONS } from '../report/options.js';
import type { ExitCode } from '../terminal/exit-codes.js';
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

/** Resolves with the exit code: one of {@link ExitCode}, or 128 and the number of the signal that ended it. */
export type Run = (context: Context) => number | Promise<number>;

export interface Command {
  readonly name: string;
  /** Arguments behind the options, for the help; absent where it takes none. */
  readonly args?: string;
  readonly summary: string;
  readonly details?: string;
  /** Where they are others than those of every command. */
  readonly exitCodes?: string;
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

const RUN_OPTIONS: Readonly<Record<string, Option>> = {
  workers: { type: 'string', value: 'N|auto', help: 'how many; auto: one for each CPU (default 1)' },
  listen: {
    type: 'string',
    value: '[NAME=]ADDRESS',
    multiple: true,
    help: 'bind here and lend it to the workers: tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, abstract:NAME',
  },
  control: {
    ...CONTROL_OPTION,
    help: 'the control socket by which the other commands reach it; else HANDOVER_CONTROL',
  },
  'max-surge': { type: 'string', value: 'N', help: 'workers replaced at a time (default 1)' },
  'progress-deadline': { type: 'string', value: 'MS', help: 'a replacement that takes longer fails (default 120000)' },
  settle: { type: 'string', value: 'MS', help: 'a new worker is watched so long before the next one (default 1000)' },
  'stop-timeout': {
    type: 'string',
    value: 'MS',
    help: 'a worker that has not drained by then is killed (default 35000)',
  },
  fdstore: {
    type: 'boolean',
    help: 'have systemd keep the listeners while this process is restarted (default where systemd says $FDSTORE)',
  },
  watch: { type: 'boolean', help: 'replace the workers whenever a source is saved' },
  json: { type: 'boolean', help: 'what it reports on stderr as lines of JSON' },
};

export const COMMANDS: readonly Command[] = [
  {
    name: 'run',
    args: '-- COMMAND [ARG ...]',
    summary: 'keep the pid and the listeners; start, restart and replace the workers',
    exitCodes:
      '0 drained as told, 1 the first start failed or a worker had to be killed, 2 wrong usage, 128 + N told twice',
    details: 'SIGHUP and SIGUSR2 replace them, SIGTTIN and SIGTTOU add and take one, SIGTERM drains and ends.',
    options: RUN_OPTIONS,
    load: () => import('./run.js'),
  },
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
      profile: {
        type: 'string',
        value: 'DIR',
        help: "write CPU profiles of the successor's start and of the drain of the old process into this directory",
      },
      ...COMMON,
    },
    load: () => import('./upgrade.js'),
  },
  {
    name: 'abort',
    summary: 'give up the handover under way, or a standby that waits; the old process serves on',
    options: COMMON,
    load: () => import('./abort.js'),
  },
  {
    name: 'scale',
    args: 'N',
    summary: 'change the number of workers of handover run; no connection closes',
    options: COMMON,
    load: () => import('./scale.js'),
  },
  {
    name: 'resume',
    summary: 'go on with a roll of handover run that has paused',
    options: COMMON,
    load: () => import('./resume.js'),
  },
  {
    name: 'rollback',
    summary: 'put back the release of the workers that a paused roll has replaced',
    options: COMMON,
    load: () => import('./rollback.js'),
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
    name: 'build',
    summary: 'compile the addon where no prebuilt file fits: needs a C++ compiler, make and Python',
    options: {},
    load: () => import('./build.js'),
  },
  {
    name: 'explain',
    args: '[CODE]',
    summary: 'what an error code means, whether the old process still serves, and what to do',
    options: { json: JSON_OPTION },
    load: () => import('./explain.js'),
  },
  {
    name: 'hammer',
    args: 'URL',
    summary: 'put a load on any server, and account for every single request',
    details: 'With --report, --baseline or --sla it says and ends as handover report does.',
    exitCodes:
      '0 done, 1 something was lost, a limit is broken, a trigger failed, NO-GO, or worse than the baseline, 2 wrong usage, 5 REVIEW',
    options: { ...HAMMER_OPTIONS, ...REPORT_OPTIONS },
    load: () => import('./hammer.js'),
  },
  {
    name: 'report',
    args: 'DATA.json',
    summary: 'make a page of what handover hammer --json has printed',
    details: 'One file that needs nothing else; compared with another run, and judged, where that is asked for.',
    exitCodes:
      '0 done (GO), 1 NO-GO, or a metric significantly worse than the baseline, 2 wrong usage or malformed data, 5 REVIEW',
    options: {
      out: { type: 'string', value: 'FILE', help: 'where the page is written (default: DATA.html)' },
      ...REPORT_OPTIONS,
      json: JSON_OPTION,
    },
    load: () => import('./report.js'),
  },
];
