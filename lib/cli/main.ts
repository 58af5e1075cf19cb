#!/usr/bin/env node
// The `handover` command: finds the command asked for, loads its module, and ends with its exit code.
import { VERSION } from '../fd/package.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { Output } from '../terminal/output.js';
import { generalHelp, helpOf, parse } from './arguments.js';
import { allCommands, commandOf } from './commands.js';

// A reader of stdout that has gone (`| head`) is no failure of the command.
process.stdout.on('error', () => {});

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...rest]: readonly string[]): Promise<number> {
  // Words behind `--` belong to another program.
  const own = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest;
  const output = new Output(own.includes('--json'), process.env);
  const print = (text: string): ExitCode => {
    process.stdout.write(`${text}\n`);
    return EXIT.ok;
  };
  try {
    if (name === undefined) throw new CommandError(EXIT.usage, generalHelp(await allCommands()));
    if (name === '--help' || name === '-h' || name === 'help') {
      return print(rest[0] === undefined ? generalHelp(await allCommands()) : helpOf(await commandOf(rest[0])));
    }
    if (name === '--version') return print(VERSION);
    const command = await commandOf(name);
    const { options, args } = parse(command, rest);
    if (options.help === true) return print(helpOf(command));
    return await command.run({ options, args, output, variables: process.env });
  } catch (error) {
    return fail(output, error);
  }
}

/** Prints the error: as text on stderr, and with --json as the last line of stdout. */
function fail(output: Output, error: unknown): ExitCode {
  const { message, code, phase, stillServing } = error as Error & Record<string, string | boolean | undefined>;
  const exitCode = error instanceof CommandError ? error.exitCode : EXIT.failed;
  output.json({ type: 'error', message, code, phase, stillServing, exitCode });
  output.error(
    output.isJson || error instanceof CommandError ? message : `${output.styled('red', 'failed')}: ${message}`,
  );
  return exitCode;
}
