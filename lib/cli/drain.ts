// `handover drain`: lets a process finish its connections and end, and waits for that, as a preStop hook must.
import type { ControlEvent } from '../protocol/control-commands.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { ask, text } from './client.js';
import { COMMON_OPTIONS, type Command, type Context } from './command.js';

export const command: Command = {
  summary: 'end the process politely, and wait until its last connection has ended',
  details: 'For a preStop hook: /readyz says 503 at once, connections are accepted until the delay is over.',
  options: {
    delay: {
      type: 'string',
      value: 'SECONDS',
      help: 'serve on and report not ready for this time, until the load balancers know (default 0)',
    },
    ...COMMON_OPTIONS,
  },
  run,
};

async function run(context: Context): Promise<ExitCode> {
  const { output, options } = context;
  const delay = milliseconds(text(options.delay) ?? '0');
  const onEvent = ({ name, ...told }: ControlEvent): void => {
    output.json({ type: name, ...told });
    const phase = 'phase' in told ? told.phase : undefined;
    if (phase === 'NOT_READY') output.line(`the process is not ready any more, and serves on for ${delay / 1000} s`);
    if (phase === 'DRAIN') output.line('the process accepts no more, and waits for its open connections to end');
  };
  const result = await ask(context, 'drain', { delay }, onEvent);
  output.json({ type: 'drained', ...result });
  const { cut = 0, moved = 0 } = result;
  output.line(
    `drained${moved === 0 ? '' : `; ${moved} connections migrated`}${cut === 0 ? '' : `; ${cut} were cut at the deadline`}`,
  );
  return EXIT.ok;
}

function milliseconds(value: string): number {
  const seconds = Number(value);
  if (value.trim() !== '' && seconds >= 0 && seconds < 1e6) return Math.round(seconds * 1000);
  throw new CommandError(EXIT.usage, `--delay is a number of seconds. Received '${value}'`);
}
