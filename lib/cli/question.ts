// The command of a question: asks it of the process at the control socket, and shows the answer.
import type { Question } from '../process/question.js';
import type { Json } from '../protocol/rpc.js';
import { EXIT } from '../terminal/exit-codes.js';
import { call } from './client.js';
import { COMMON_OPTIONS, type Command, type Option, type Values } from './command.js';

export function commandOfQuestion(name: string, { summary, params, lines }: Question): Command {
  const declared = Object.entries(params);
  const own = declared.map(([parameter, { kind, help }]): [string, Option] => [
    parameter,
    kind === 'flag' ? { type: 'boolean', help } : { type: 'string', value: kind.toUpperCase(), help },
  ]);
  return {
    summary,
    options: { ...Object.fromEntries(own), ...COMMON_OPTIONS },
    async run(context) {
      const given = declared.map(([parameter, { kind }]) => [parameter, toJson(kind, context.options[parameter])]);
      const answer = await call(context, name, Object.fromEntries(given));
      context.output.json({ type: name, ...answer });
      for (const line of lines(answer)) context.output.line(line);
      return EXIT.ok;
    },
  };
}

/** The process says what is wrong with a number. */
function toJson(kind: string, value: Values[string]): Json | undefined {
  const isNumber = kind === 'count' || kind === 'milliseconds';
  return isNumber && value !== undefined ? Number(value) : (value as string | boolean | undefined);
}
