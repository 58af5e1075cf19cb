// The command line of `npm run verify`: what is wrong is named, before anything is started.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  decimal,
  FLAG,
  HELP as HELP_FLAG,
  type Option,
  readOptions,
  refuseArguments,
  some,
  UsageError,
} from '../lib/options.mjs';
import { LEAST_SAMPLES } from './slope.js';

/**
 * What is soaked. `chain`: a server that hands over to itself again and again; `supervisor`: one under `handover run`, whose
 * supervisor stays; `steady`: one process that is never replaced.
 */
export const TARGETS = ['chain', 'supervisor', 'steady'] as const;
export type TargetKind = (typeof TARGETS)[number];

export interface VerifyOptions {
  /** How long is measured; the warm-up comes before it. */
  readonly minutes: number;
  /** Milliseconds from one handover to the next. */
  readonly every: number;
  /** Undefined: a new directory among the temporary files. */
  readonly out: string | undefined;
  /** Requests a second to the chain; a third of it to each of the others. */
  readonly rate: number;
  /** Megabytes a minute. */
  readonly rssLimit: number;
  readonly targets: readonly TargetKind[];
  /** The server. */
  readonly app: string;
  readonly json: boolean;
  readonly help: boolean;
}

const MINUTE = 60_000;
const MAX_MINUTES = 7 * 24 * 60;
/** A day: what a timer of Node can wait is 24 of them. */
const MAX_EVERY = 24 * 60 * MINUTE;
const UNITS = { ms: 1, s: 1_000, m: 60_000 } as const;
const DEFAULT_APP = fileURLToPath(new URL('app.mjs', import.meta.url));

export const HELP = `Usage: npm run verify -- [options]

Hands servers over again and again under load, counts, samples their memory and descriptors, and gives a verdict for
each check: PASS or FAIL, with the number, the bound and the reason.

  --minutes N        how long to measure, after a warm-up; fractions allowed (default 60)
  --every TIME       from one handover to the next: 500ms, 5s, 1m (default 5s), at most a fifth of --minutes
  --out DIR          where the report, the data and what a FAIL leaves go (default: a new temporary directory)
  --rate N           requests a second to the server that hands over to itself, a third of it to the others (default 90)
  --max-rss-slope N  megabytes a minute the upper confidence bound of every slope must stay under (default 5)
  --targets LIST     of ${TARGETS.join(', ')} (default: all of them)
  --app FILE         another server, which says what bench/verify/server.mjs says
  --json             print one JSON object as the last line; all else goes to stderr
  --help             show this

Exits with 0 when every check passed, 1 when one failed, 2 for bad options, 130 when interrupted.
`;

const OPTIONS = {
  minutes: upTo(MAX_MINUTES),
  every: some('a time from 100ms to 1440m, like 500ms, 5s, 1m', time),
  out: some('a directory'),
  rate: upTo(100_000),
  'max-rss-slope': upTo(1e6),
  targets: some(`some of ${TARGETS.join(', ')}`, targets),
  app: some('a file that is there', (file) => [resolve(file)].find(existsSync)),
  json: FLAG,
  help: HELP_FLAG,
};

/** @throws UsageError naming the option, what it expects and what it got */
export function parseOptions(args: readonly string[]): VerifyOptions {
  const { values, positionals } = readOptions(args, OPTIONS);
  refuseArguments(positionals);
  const { minutes = 60, every = 5_000 } = values;
  if (every * LEAST_SAMPLES > minutes * MINUTE) {
    const [wanted, got] = ['option --every expects at most a fifth of --minutes', `${every} ms of ${minutes} minutes`];
    throw new UsageError(`${wanted}, as ${LEAST_SAMPLES} samples are the least that allow a verdict, got ${got}`);
  }
  return {
    minutes,
    every,
    out: values.out,
    rate: values.rate ?? 90,
    rssLimit: values['max-rss-slope'] ?? 5,
    targets: values.targets ?? TARGETS,
    app: values.app ?? DEFAULT_APP,
    json: values.json ?? false,
    help: values.help ?? false,
  };
}

function upTo(most: number): Option<number> {
  return decimal(`a number above 0 and up to ${most}`, (value) => value > 0 && value <= most);
}

function time(text: string): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text) ?? [];
  const value = unit === undefined ? 0 : Number(digits) * UNITS[unit as keyof typeof UNITS];
  return value >= 100 && value <= MAX_EVERY ? value : undefined;
}

function targets(text: string): readonly TargetKind[] | undefined {
  const named = text.split(',');
  const isKnown = named.every((name) => (TARGETS as readonly string[]).includes(name));
  return isKnown ? TARGETS.filter((name) => named.includes(name)) : undefined;
}
