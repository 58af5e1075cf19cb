// The command lines of the programs in bench/: what is wrong is named, before anything is started.
import { parseArgs } from 'node:util';

export class UsageError extends Error {}

export const FLAG = { expects: 'no value', read: (text) => (text === undefined ? true : undefined) };
export const HELP = { ...FLAG, short: 'h' };

export function decimal(expects, isRight) {
  const read = (text) => {
    // Number('') is 0 and Number('0x10') is 16: neither is meant.
    const value = /^\d+(\.\d+)?$/.test(text ?? '') ? Number(text) : Number.NaN;
    return isRight(value) ? value : undefined;
  };
  return { expects, read };
}

export function whole(least, most) {
  const isRight = (value) => Number.isInteger(value) && value >= least && value <= most;
  return decimal(`a whole number from ${least} to ${most}`, isRight);
}

export function some(expects, read = (text) => text) {
  return { expects, read: (text) => (text ? read(text) : undefined) };
}

function expectation(option, expects, value) {
  const got = value === undefined ? 'nothing' : JSON.stringify(value);
  return new UsageError(`option ${option} expects ${expects}, got ${got}`);
}

export function readOptions(args, known) {
  const declared = Object.entries(known).map(([name, { read, short }]) => {
    const type = read === FLAG.read ? 'boolean' : 'string';
    return [name, short === undefined ? { type } : { type, short }];
  });
  // Not `strict`: its own messages do not say what an option expects.
  const options = Object.fromEntries(declared);
  const { tokens, positionals } = parseArgs({ args: [...args], strict: false, tokens: true, options });
  const values = {};
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!Object.hasOwn(known, token.name)) throw new UsageError(`unknown option ${token.rawName}; see --help`);
    const { expects, read } = known[token.name];
    values[token.name] = read(token.value);
    if (values[token.name] === undefined) throw expectation(token.rawName, expects, token.value);
  }
  return { values, positionals };
}

export function refuseArguments([unexpected]) {
  if (unexpected !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(unexpected)}`);
}
