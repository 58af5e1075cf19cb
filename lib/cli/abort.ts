// `handover abort`: gives up the handover under way.
import type { ControlAnswers } from '../protocol/control-commands.js';
import { EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { ask } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';

export const command: Command = {
  summary: 'give up the handover under way, or a standby that waits; the old process serves on',
  options: COMMON_OPTIONS,
  run,
};

async function run(context: Context): Promise<ExitCode> {
  const { phase, workers } = await ask(context, 'abort', {});
  context.output.json({ type: 'abort', phase: phase ?? null, ...(workers !== undefined && { workers }) });
  context.output.line(textOf({ phase, workers }));
  return EXIT.ok;
}

function textOf({ phase, workers }: ControlAnswers['abort']): string {
  if (phase === undefined) return 'no handover is under way';
  if (workers === undefined) return `the handover was given up in ${phase}: the old process serves on`;
  const which = workers.length === 1 ? `worker ${workers[0]}` : `workers ${workers.join(', ')}`;
  return `the roll was given up: ${which} not replaced; \`handover resume\` goes on, \`handover rollback\` goes back`;
}
