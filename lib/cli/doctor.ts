// `handover doctor`: finds settings of this machine with which a handover is refused or loses connections.

import { resolve } from 'node:path';
import type { Status } from '../protocol/control-commands.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import type { Style } from '../terminal/output.js';
import { chargeFindings } from './charge.js';
import { CHECKS, type Finding, type Severity } from './checks.js';
import { ask, text } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';
import { controlPath } from './find-socket.js';
import { Machine } from './machine.js';
import { socketFindings } from './socket-checks.js';

export const command: Command = {
  summary: 'find settings of this machine with which a handover is refused or loses connections',
  options: {
    root: {
      type: 'string',
      value: 'DIRECTORY',
      help: 'directory that has /proc, /sys and the sockets (default /)',
    },
    ...COMMON_OPTIONS,
  },
  run,
};

const STYLES: { readonly [S in Severity]: Style } = { ok: 'green', warn: 'yellow', fail: 'red' };

async function run(context: Context): Promise<ExitCode> {
  const { output, options } = context;
  const root = resolve(text(options.root) ?? '/');
  const { path, status, finding } = await findProcess(context, root);
  const machine = new Machine(root, status);
  const checked = CHECKS.map((check) => check(machine));
  const findings = [finding, ...checked, ...chargeFindings(machine), ...socketFindings(machine, path)].filter(
    (found) => found !== undefined,
  );
  const count = (severity: Severity): number => findings.filter((found) => found.severity === severity).length;
  output.json({ ok: count('fail') === 0, findings });
  for (const found of findings) show(context, found);
  output.line(`${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed`);
  return count('fail') === 0 ? EXIT.ok : EXIT.failed;
}

interface Found {
  readonly path?: string | undefined;
  readonly status?: Status;
  readonly finding: Finding;
}

/** Finds the process to check. Without one, the finding says so, and the machine is checked all the same. */
async function findProcess(context: Context, root: string): Promise<Found> {
  let path: string | undefined;
  try {
    path = controlPath(text(context.options.control), context.variables, root);
    const at = { ...context, options: { ...context.options, control: path } };
    const status = await ask(at, 'status', {});
    const value = `generation ${status.generation}, pid ${status.pid}, ${status.phase}`;
    return { path, status, finding: { name: 'process', severity: 'ok', value } };
  } catch (error) {
    const finding: Finding = {
      name: 'process',
      severity: 'warn',
      value: 'none',
      wrong: (error as Error).message,
      why: 'the limits, listeners and sockets of a process cannot be checked: these findings are about the machine alone',
      fix: 'handover doctor --control PATH',
    };
    // The file of a socket to which this user may not connect is checked all the same.
    const isThere = error instanceof CommandError && error.exitCode === EXIT.forbidden;
    return { ...(isThere && { path }), finding };
  }
}

function show({ output }: Context, { name, severity, value, wrong, why, fix }: Finding): void {
  output.line(`${output.styled(STYLES[severity], severity.padEnd(4))}  ${name}: ${value}`);
  if (wrong === undefined) return;
  output.line(`      ${wrong}`);
  output.line(`      ${output.styled('dim', `why: ${why}`)}`);
  output.line(`      ${output.styled('bold', `fix: ${fix}`)}`);
}
