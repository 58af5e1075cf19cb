// `handover upgrade`: asks a process to hand over, and shows the phases; with --dry-run it shows what would change.

import { resolve } from 'node:path';
import { HandoverError } from '../errors.js';
import type { ControlEvent, ControlEvents, PlannedListener } from '../protocol/control-commands.js';
import { EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { ask } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';
import { EXPLANATIONS } from './explanations.js';

export const command: Command = {
  summary: 'hand over to a new process, and wait until it is in charge',
  details: 'Shows the phases as they happen. The handover goes on when this command is interrupted.',
  options: {
    'dry-run': {
      type: 'boolean',
      help: 'start the new release as a standby, say what would change, and end it; nothing is handed over',
    },
    'if-changed': {
      type: 'boolean',
      help: 'do nothing when the command leads to the same files (path, size, time) and package versions as at the start',
    },
    profile: {
      type: 'string',
      value: 'DIR',
      help: "write CPU profiles of the successor's start and of the drain of the old process into this directory",
    },
    ...COMMON_OPTIONS,
  },
  run,
};

async function run(context: Context): Promise<ExitCode> {
  return context.options['dry-run'] === true ? dryRun(context) : upgrade(context);
}

async function upgrade(context: Context): Promise<ExitCode> {
  const { output, options } = context;
  const start = performance.now();
  const onEvent = (event: ControlEvent): void => {
    const { name, ...told } = event;
    output.json({ type: name, ...told });
    if (event.name === 'phase') output.line(`${output.styled('dim', seconds(start))}  ${describePhase(event)}`);
    if (event.name === 'changes') for (const change of event.changes) output.line(`changed: ${change}`);
  };
  try {
    // The process that writes the profiles has another working directory.
    const profile = typeof options.profile === 'string' ? resolve(options.profile) : undefined;
    const answer = await ask(context, 'upgrade', { ifChanged: options['if-changed'] === true, profile }, onEvent);
    output.json({ type: 'outcome', ...answer });
    if ('isUnchanged' in answer) {
      output.line(`unchanged: generation ${answer.generation} (pid ${answer.pid}) serves on`);
      return EXIT.ok;
    }
    const { generation, pid, unclaimed = [] } = answer;
    // A supervisor has a pid for each worker.
    const who = pid === undefined ? '' : ` (pid ${pid})`;
    output.line(`${output.styled('green', 'done')}: generation ${generation}${who} is in charge`);
    if (unclaimed.length > 0) output.line(`not claimed by the new process: ${unclaimed.join(', ')}`);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof HandoverError)) throw error;
    explainFailure(context, error);
    return EXIT.failed;
  }
}

/** Describes a phase. An event of a supervisor names the worker, too. */
function describePhase({ phase, generation, worker }: ControlEvents['phase']): string {
  const who = worker === undefined ? '' : `worker ${worker}  `;
  return `${who}${phase}${generation === undefined ? '' : `  (generation ${generation})`}`;
}

function explainFailure({ output }: Context, error: HandoverError): void {
  const { code, message, phase, stillServing, stderr, exitCode, exitSignal } = error;
  output.json({ type: 'error', code, message, phase, stillServing, stderr, exitCode, exitSignal });
  output.error(`${output.styled('red', 'failed')}${phase === undefined ? '' : ` in ${phase}`}: ${message}`);
  output.error(`the old process ${stillServing ? 'serves on' : 'does not serve any more'}`);
  output.error(`what to do: ${EXPLANATIONS[code].action || 'nothing'} (handover explain ${code})`);
}

async function dryRun(context: Context): Promise<ExitCode> {
  const { output } = context;
  const plan = await ask(context, 'plan', {});
  output.json({ type: 'plan', ...plan });
  output.line(`old: ${plan.old.command.join(' ')}  (in ${plan.old.cwd})`);
  output.line(`new: ${plan.new.command.join(' ')}  (in ${plan.new.cwd})`);
  output.line(plan.changes.length === 0 ? 'release: unchanged' : `release: ${plan.changes.join('; ')}`);
  const { kept, added, removed, changed } = plan.listeners;
  for (const listener of kept) output.line(`  kept     ${label(listener)}`);
  for (const listener of added) output.line(`  added    ${label(listener)}`);
  for (const listener of removed) output.line(`  removed  ${label(listener)}`);
  for (const { name, from, to } of changed) output.line(`  changed  ${name}  ${from} becomes ${to}`);
  output.line(
    plan.wasTried
      ? 'the new release got ready and was ended; nothing was handed over'
      : 'the workers of a supervisor are not tried; nothing was started',
  );
  return EXIT.ok;
}

/** Name and address of a listener. A listener without a name of its own has its address as its name. */
function label({ name, address }: PlannedListener): string {
  return name === address ? name : `${name}  ${address}`;
}

function seconds(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(2).padStart(6)} s`;
}
