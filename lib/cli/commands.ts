// The table of commands: the name of each, and its module, which is loaded when the command runs or its help is asked for.
import { QUESTIONS } from '../process/questions.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Command, NamedCommand } from './command.js';

type Load = () => Promise<{ readonly command: Command }>;

const ASKING = Object.entries(QUESTIONS).map(([name, question]): [string, Load] => [
  name,
  async () => ({ command: (await import('./question.js')).commandOfQuestion(name, question) }),
]);

/** Every command, in the order of the help. */
const COMMANDS: Readonly<Record<string, Load>> = {
  run: () => import('./run.js'),
  upgrade: () => import('./upgrade.js'),
  abort: () => import('./abort.js'),
  scale: () => import('./scale.js'),
  ...Object.fromEntries(ASKING),
  status: () => import('./status.js'),
  drain: () => import('./drain.js'),
  doctor: () => import('./doctor.js'),
  build: () => import('./build.js'),
  explain: () => import('./explain.js'),
  hammer: () => import('./hammer.js'),
  report: () => import('./report.js'),
};

/** Loads a command. @throws CommandError there is no command of that name */
export async function commandOf(name: string): Promise<NamedCommand> {
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load) return { name, ...(await load()).command };
  const names = Object.keys(COMMANDS).join(', ');
  throw new CommandError(EXIT.usage, `there is no command '${name}'; the commands are ${names}`);
}

export function allCommands(): Promise<NamedCommand[]> {
  return Promise.all(Object.keys(COMMANDS).map(commandOf));
}
