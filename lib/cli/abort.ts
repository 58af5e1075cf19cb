// `handover abort`: gives up the handover under way.
import { ask } from './client.js';
import type { Context } from './commands.js';
import { EXIT, type ExitCode } from './exit-codes.js';

export async function run(context: Context): Promise<ExitCode> {
  const { phase } = await ask(context, 'abort', {});
  context.output.json({ type: 'abort', phase: phase ?? null });
  context.output.line(
    phase === undefined ? 'no handover is under way' : `given up in ${phase}: the old process serves on`,
  );
  return EXIT.ok;
}
