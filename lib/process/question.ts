// What a question is: a command that asks a process or a supervisor and shows the answer, whole in one file. The help, the
// options, the call on the wire and the methods of the control socket are made from it.
import { checkParams, type ParameterKind, type ParamsOf } from '../protocol/control-commands.js';
import type { Params } from '../protocol/rpc.js';
import type { AskedProcess, AskedSupervisor } from './asked.js';
import type { Method, Methods } from './control.js';

/** A parameter of the call, which is an option of the command. */
interface Parameter {
  readonly kind: ParameterKind;
  readonly help: string;
}

type Parameters = Readonly<Record<string, Parameter>>;
type Given<P extends Parameters> = ParamsOf<{ readonly [N in keyof P]: P[N]['kind'] }>;

interface Shape<G, A, P> {
  /** For the help. */
  readonly summary: string;
  readonly params: P;
  /** Absent: a process answers that it does not know the command. */
  readonly process?: (asked: AskedProcess, given: G) => A | Promise<A>;
  /** The same for a supervisor. */
  readonly supervisor?: (asked: AskedSupervisor, given: G) => A | Promise<A>;
  /** The answer as text. With `--json` the command prints it as it came. */
  readonly lines: (answer: A) => readonly string[];
}

/** A question without the types of its parameters and its answer. */
export type Question = Shape<Params, Params, Parameters>;

export function question<const P extends Parameters, A extends Params>(shape: Shape<Given<P>, A, P>): Question {
  return shape as unknown as Question;
}

/** The methods of those questions to which `answerOf` gives an answer. */
export function questionMethods(
  questions: Readonly<Record<string, Question>>,
  answerOf: (question: Question) => ((given: Params) => Params | Promise<Params>) | undefined,
): Methods {
  return Object.fromEntries(
    Object.entries(questions).flatMap(([name, asked]): [string, Method][] => {
      const answer = answerOf(asked);
      const kinds = Object.entries(asked.params).map(([parameter, { kind }]) => [parameter, kind] as const);
      const declared = Object.fromEntries(kinds);
      return answer ? [[name, ({ params }) => answer(checkParams(declared, params))]] : [];
    }),
  );
}
