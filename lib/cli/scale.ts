// `handover scale N`: changes the number of workers.

import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { ask } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';

export const command: Command = {
  args: 'N',
  summary: 'change the number of workers of handover run; no connection closes',
  options: COMMON_OPTIONS,
  run,
};

async function run(context: Context): Promise<ExitCode> {
  const { args, output } = context;
  const workers = Number(args[0]);
  if (args.length !== 1 || !Number.isSafeInteger(workers) || workers < 1) {
    throw new CommandError(EXIT.usage, `scale takes the number of workers, at least 1. Received '${args.join(' ')}'`);
  }
  const answer = await ask(context, 'scale', { workers });
  output.json({ type: 'scaled', ...answer });
  output.line(`${answer.workers} workers`);
  return EXIT.ok;
}
