// The command line of `npm run bench`: what is wrong is named, before anything is started.
import { parseArgs } from 'node:util';

/** The caller erred: the message is all there is to say. */
export class UsageError extends Error {}

export interface CommandLine {
  /** In order, each once; none: all there are. */
  readonly names: readonly string[];
  readonly rounds: number | undefined;
  readonly quick: boolean;
  readonly json: boolean;
  /** Where the page goes. */
  readonly out: string | undefined;
  readonly help: boolean;
}

const MAX_ROUNDS = 1000;
const FLAGS = ['quick', 'json', 'help'] as const;

/** @throws UsageError naming the option, what it expects and what it got */
export function parseCommandLine(args: readonly string[]): CommandLine {
  // Not `strict`: its own messages do not say what an option expects.
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: {
      rounds: { type: 'string' },
      out: { type: 'string' },
      quick: { type: 'boolean' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const names: string[] = [];
  let out: string | undefined;
  let rounds: number | undefined;
  const flags = { quick: false, json: false, help: false };
  for (const token of tokens) {
    if (token.kind === 'positional') {
      if (names.includes(token.value)) throw new UsageError(`${JSON.stringify(token.value)} is named twice`);
      names.push(token.value);
    }
    if (token.kind !== 'option') continue;
    const flag = FLAGS.find((known) => known === token.name);
    if (token.name === 'rounds') {
      rounds = parseRounds(token.rawName, token.value);
    } else if (token.name === 'out') {
      if (!token.value) throw expectation(token.rawName, 'a folder', token.value);
      out = token.value;
    } else if (flag === undefined) {
      throw new UsageError(`unknown option ${token.rawName}; known are --rounds, --quick, --out, --json and --help`);
    } else if (token.value !== undefined) {
      throw expectation(token.rawName, 'no value', token.value);
    } else {
      flags[flag] = true;
    }
  }
  return { names, rounds, out, ...flags };
}

function parseRounds(option: string, value: string | undefined): number {
  // Number('') is 0 and Number('0x10') is 16: neither is meant.
  const rounds = value !== undefined && /^\d+$/.test(value) ? Number(value) : 0;
  if (rounds < 1 || rounds > MAX_ROUNDS) throw expectation(option, `a whole number from 1 to ${MAX_ROUNDS}`, value);
  return rounds;
}

function expectation(option: string, expected: string, value: string | undefined): UsageError {
  const got = value === undefined ? 'nothing' : JSON.stringify(value);
  return new UsageError(`option ${option} expects ${expected}, got ${got}`);
}
