// A program that is measured: a process of its own that is told what to do in a line on stdin and answers with the
// nanoseconds it took in a line on stdout. It ends when its stdin does, also because the one who asks was killed.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Contestant {
  readonly name: string;
  /** Sends one line; resolves with the nanoseconds. Rejects when the program ends instead. */
  run(line: string): Promise<number>;
  /** Ends the program, waits for it. */
  end(): Promise<void>;
}

export function startContestant(name: string, command: string, args: readonly string[]): Contestant {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(`exit code ${code}, signal ${signal}`));
  });
  child.stdin.on('error', () => {}); // it has ended: `closed` says how
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    name,
    async run(line) {
      child.stdin.write(`${line}\n`);
      const { value } = (await answers.next()) as IteratorResult<string, undefined>;
      if (value === undefined) throw new Error(`${name} ended during "${line}": ${await closed}`);
      if (!/^\d+$/.test(value)) throw new Error(`${name} answered "${line}" with "${value}"`);
      return Number(value);
    },
    async end() {
      child.stdin.end();
      await closed;
    },
  };
}

/** Starts a TypeScript program with this Node and the loader this process itself was started with. */
export function startNodeContestant(name: string, program: URL): Contestant {
  return startContestant(name, process.execPath, [...process.execArgv, fileURLToPath(program)]);
}

/** The other end of {@link Contestant.run}: answers each line, until there are no more. */
export async function answerLines(run: (line: string) => Promise<bigint> | bigint): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${await run(line)}\n`);
}
