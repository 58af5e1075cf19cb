// `handover rollback`: puts back the release of the workers that a paused roll has replaced.
import { EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { ask } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';

export const command: Command = {
  summary: 'put back the release of the workers that a paused roll has replaced',
  options: COMMON_OPTIONS,
  run,
};

async function run(context: Context): Promise<ExitCode> {
  const answer = await ask(context, 'rollback', {});
  context.output.json({ type: 'rollback', ...answer });
  context.output.line(
    `rolled back: ${answer.workers.map(({ slot, pid }) => `worker ${slot} is pid ${pid}`).join(', ')}`,
  );
  return EXIT.ok;
}
