// `handover resume`: continues a paused roll.
import { EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { ask } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';

export const command: Command = {
  summary: 'go on with a roll of handover run that has paused',
  options: COMMON_OPTIONS,
  run,
};

async function run(context: Context): Promise<ExitCode> {
  const answer = await ask(context, 'resume', {});
  context.output.json({ type: 'resume', ...answer });
  context.output.line(
    `the roll went on: ${answer.workers.map(({ slot, pid }) => `worker ${slot} is pid ${pid}`).join(', ')}`,
  );
  return EXIT.ok;
}
