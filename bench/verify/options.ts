// The command line of `npm run verify`: what is wrong is named, before anything is started.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LEAST_SAMPLES } from './slope.js';

/** The caller erred: the message is all there is to say. */
export class UsageError extends Error {}

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
  minutes: { type: 'string' },
  every: { type: 'string' },
  out: { type: 'string' },
  rate: { type: 'string' },
  'max-rss-slope': { type: 'string' },
  targets: { type: 'string' },
  app: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @throws UsageError naming the option, what it expects and what it got */
export function parseOptions(args: readonly string[]): VerifyOptions {
  // Not `strict`: its own messages do not say what an option expects.
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true, options: OPTIONS });
  const values = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError(`unexpected argument ${JSON.stringify(token.value)}`);
    if (token.kind !== 'option') continue;
    const option = Object.hasOwn(OPTIONS, token.name) ? OPTIONS[token.name as keyof typeof OPTIONS] : undefined;
    if (option === undefined) throw new UsageError(`unknown option ${token.rawName}; see --help`);
    if (option.type === 'boolean' && token.value !== undefined)
      throw expectation(token.rawName, 'no value', token.value);
    if (option.type === 'string' && token.value === undefined) throw expectation(token.rawName, 'a value', undefined);
    values.set(token.name, token.value ?? '');
  }
  const minutes = number(values, 'minutes', 60, MAX_MINUTES);
  const every = time(values.get('every') ?? '5s');
  if (every * LEAST_SAMPLES > minutes * MINUTE) {
    const [wanted, got] = ['option --every expects at most a fifth of --minutes', `${every} ms of ${minutes} minutes`];
    throw new UsageError(`${wanted}, as ${LEAST_SAMPLES} samples are the least that allow a verdict, got ${got}`);
  }
  return {
    minutes,
    every,
    out: values.get('out'),
    rate: number(values, 'rate', 90, 100_000),
    rssLimit: number(values, 'max-rss-slope', 5, 1e6),
    targets: targets(values.get('targets') ?? TARGETS.join(',')),
    app: app(values.get('app') ?? DEFAULT_APP),
    json: values.has('json'),
    help: values.has('help'),
  };
}

function number(values: ReadonlyMap<string, string>, name: string, byDefault: number, most: number): number {
  const text = values.get(name) ?? String(byDefault);
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (value > 0 && value <= most) return value;
  throw expectation(`--${name}`, `a number above 0 and up to ${most}`, text);
}

const UNITS = { ms: 1, s: 1_000, m: 60_000 } as const;

function time(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text) ?? [];
  const value = unit === undefined ? 0 : Number(digits) * UNITS[unit as keyof typeof UNITS];
  if (value >= 100 && value <= MAX_EVERY) return value;
  throw expectation('--every', 'a time from 100ms to 1440m, like 500ms, 5s, 1m', text);
}

function targets(text: string): readonly TargetKind[] {
  const named = text.split(',');
  const unknown = named.find((name) => !(TARGETS as readonly string[]).includes(name));
  if (unknown !== undefined) throw expectation('--targets', `some of ${TARGETS.join(', ')}`, text);
  return TARGETS.filter((name) => named.includes(name));
}

function app(file: string): string {
  const path = resolve(file);
  if (!existsSync(path)) throw expectation('--app', 'a file that is there', file);
  return path;
}

function expectation(option: string, expected: string, value: string | undefined): UsageError {
  const got = value === undefined ? 'nothing' : JSON.stringify(value);
  return new UsageError(`option ${option} expects ${expected}, got ${got}`);
}
