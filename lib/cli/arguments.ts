// Reads the command line by the declaration of a command's options, and writes the help from the same declaration.
import { parseArgs } from 'node:util';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Command, NamedCommand, Option, Values } from './command.js';

export interface Parsed {
  readonly options: Values;
  readonly args: readonly string[];
}

/** Reads the options and arguments of a command. @throws CommandError the usage is wrong */
export function parse(command: NamedCommand, argv: readonly string[]): Parsed {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { ...declared(command), help: { type: 'boolean', short: 'h' } },
      strict: true,
      allowPositionals: true,
    });
    const [unexpected] = positionals;
    if (command.args === undefined && unexpected !== undefined && values.help !== true) {
      throw new Error(`'${command.name}' takes no argument: ${unexpected}`);
    }
    return { options: values, args: positionals };
  } catch (error) {
    const [message = ''] = (error as Error).message.split('. To specify a positional');
    throw new CommandError(EXIT.usage, `${message.replace(/\.$/, '')}; see handover ${command.name} --help`);
  }
}

function declared({ options }: Command): Record<string, Pick<Option, 'type' | 'multiple'>> {
  const entries = Object.entries(options);
  return Object.fromEntries(entries.map(([name, { type, multiple = false }]) => [name, { type, multiple }]));
}

const EXIT_CODES = '0 done, 1 failed, 2 wrong usage, 3 no process there, 4 not allowed';

export function generalHelp(commands: readonly NamedCommand[]): string {
  const rows = commands.map(
    ({ name, args, summary }) => [args === undefined ? name : `${name} ${args}`, summary] as const,
  );
  return [
    'usage: handover COMMAND [OPTIONS]',
    '',
    ...columns(rows),
    '',
    'handover COMMAND --help says more; handover --version',
    `exit codes: ${EXIT_CODES}`,
  ].join('\n');
}

export function helpOf({ name, args, summary, details, options, exitCodes = EXIT_CODES }: NamedCommand): string {
  const rows = Object.entries(options).map(([option, { value, help }]: [string, Option]) => {
    return [`--${option}${value === undefined ? '' : ` ${value}`}`, help] as const;
  });
  return [
    `usage: handover ${name} [OPTIONS]${args === undefined ? '' : ` ${args}`}`,
    '',
    `  ${summary}`,
    ...(details === undefined ? [] : [`  ${details}`]),
    '',
    ...columns([...rows, ['--help', 'this text']]),
    '',
    `exit codes: ${exitCodes}`,
  ].join('\n');
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
