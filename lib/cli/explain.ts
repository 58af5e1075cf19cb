// `handover explain CODE`: the operator's page for an error.
import { HANDOVER_ERROR_CODES, knownCode } from '../errors.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { type Command, type Context, JSON_OPTION } from './command.js';
import { EXPLANATIONS } from './explanations.js';

export const command: Command = {
  args: '[CODE]',
  summary: 'what an error code means, whether the old process still serves, and what to do',
  options: { json: JSON_OPTION },
  run,
};

const PREFIX = 'ERR_HANDOVER_';

/** Prints the page of one code, or all codes. `TIMEOUT`, `err_handover_timeout` and `ERR_HANDOVER_TIMEOUT` are the same. */
function run({ output, args }: Context): ExitCode {
  const [asked, ...more] = args;
  if (more.length > 0) throw new CommandError(EXIT.usage, `one code at a time; too many: ${more.join(' ')}`);
  if (asked === undefined) {
    output.json(EXPLANATIONS);
    output.table(HANDOVER_ERROR_CODES.map((code) => [code, EXPLANATIONS[code].happened]));
    return EXIT.ok;
  }
  const word = asked.toUpperCase();
  const code = knownCode(word.startsWith(PREFIX) ? word : PREFIX + word);
  if (code === undefined) throw new CommandError(EXIT.usage, `there is no code ${asked}: handover explain lists them`);
  const { happened, stillServing, action, more: details } = EXPLANATIONS[code];
  output.json({ code, ...EXPLANATIONS[code] });
  output.line(output.styled('bold', code));
  output.line(`what happened:           ${happened}`);
  output.line(`does the old one serve:  ${stillServing}`);
  output.line(`what to do:              ${action || 'nothing'}`);
  if (details !== undefined) output.line(`\n${details}`);
  return EXIT.ok;
}
