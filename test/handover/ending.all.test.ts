// The app's own end beside the handover's: what apps and libraries do at SIGTERM, SIGINT and SIGUSR2 is done as in plain
// Node or better. Each means is run three times, in plain Node, under handover/auto and beside serve().
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Exit, type Followed, type Program, usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const { start, follow } = usePrograms();

const APP = new URL('fixtures/ending.mjs', import.meta.url);
const AUTO = fileURLToPath(new URL('../../dist/auto.js', import.meta.url));
/** Longer than any of these may take: who waits for it fails. */
const OPTIONS = { probation: { duration: 0 }, drain: { timeout: 25_000 } };

type How = 'plain' | 'auto' | 'serve' | 'serve with drain';

interface Outcome {
  readonly answer: string;
  /** Where nobody waits for them, how many are done depends on how fast the machine is. */
  readonly jobs?: number;
  readonly exit: Exit;
}

const EXIT = (code: number): Exit => ({ code, signal: null });
const BY = (signal: NodeJS.Signals): Exit => ({ code: null, signal });

/** The body, or the code of the error. */
function get(port: number, path: string): Promise<string> {
  return new Promise((resolve) => {
    const asked = http.get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      let body = '';
      response.on('data', (bytes) => {
        body += bytes;
      });
      response.once('end', () => resolve(body)).once('error', ({ code }: NodeJS.ErrnoException) => resolve(`${code}`));
    });
    asked.once('error', ({ code }: NodeJS.ErrnoException) => resolve(`${code}`));
  });
}

function run(means: string, how: How): Program {
  const signals = how === 'serve with drain' ? { signals: { drain: 'SIGTERM' } } : {};
  return start(APP, {
    args: [means, how.startsWith('serve') ? 'serve' : 'listen'],
    execArgv: how === 'auto' ? ['--import', AUTO] : [],
    env: { HANDOVER_AUTO: JSON.stringify(OPTIONS), SERVE_OPTIONS: JSON.stringify({ ...OPTIONS, ...signals }) },
  });
}

/** Jobs that this very process has said to be done; what its successor does is not its own. */
function jobsOf({ stdout, pid }: Program): number {
  return stdout.split('\n').filter((line) => line === `{"type":"job","pid":${pid}}`).length;
}

/** Signals it while a request is open and three jobs are being done. */
async function endBy(program: Program, signal: NodeJS.Signals): Promise<Outcome & { readonly port: number }> {
  const { port } = await program.message<{ port: number }>('ready');
  expect(await get(port, '/jobs')).toBe('ok');
  const slow = get(port, '/slow');
  await program.message('slow');
  program.child.kill(signal);
  const exit = await program.exit();
  return { answer: await slow, jobs: jobsOf(program), exit, port };
}

async function outcomeOf(means: string, how: How, signal: NodeJS.Signals): Promise<Outcome> {
  const program = run(means, how);
  const { port, ...outcome } = await endBy(program, signal);
  await program.closed;
  return { ...outcome, jobs: jobsOf(program) };
}

const ALL = (exit: Exit): Outcome => ({ answer: 'slow', jobs: 3, exit });

/** What plain Node makes of it, and what is right beside the handover. */
const ENDINGS = (signal: NodeJS.Signals): readonly [means: string, plain: Outcome, beside: Outcome][] => [
  ['handler', ALL(EXIT(0)), ALL(EXIT(0))],
  ['exit', { answer: 'ECONNRESET', jobs: 0, exit: EXIT(3) }, { answer: 'slow', exit: EXIT(3) }],
  ['jobs', ALL(EXIT(0)), ALL(EXIT(0))],
  ['empty', ALL(EXIT(0)), ALL(EXIT(0))],
  ['again', ALL(BY(signal)), ALL(BY(signal))],
  ['grace', ALL(EXIT(0)), ALL(EXIT(0))],
  ['terminus', ALL(BY(signal)), ALL(BY(signal))],
  ['terminator', ALL(EXIT(0)), ALL(EXIT(0))],
  ['fastify', ALL(EXIT(0)), ALL(EXIT(0))],
  ['nest', ALL(BY(signal)), ALL(BY(signal))],
  ['onlooker', { answer: 'ECONNRESET', jobs: 0, exit: BY(signal) }, { answer: 'slow', exit: EXIT(0) }],
];

describe('G2: at its end an app loses nothing that it does not lose in plain Node', () => {
  const signals = ['SIGTERM', 'SIGINT'] as const;

  it.each(ENDINGS('SIGTERM').map(([means]) => means))('%s', { timeout: 60_000 }, async (means) => {
    const hows = ['plain', 'auto', 'serve'] as const;
    const runs = signals.flatMap((signal) => hows.map((how) => outcomeOf(means, how, signal)));
    const expected = signals.flatMap((signal) => {
      const [, plain, beside] = ENDINGS(signal).find(([name]) => name === means) ?? [];
      return [plain, beside, beside];
    });
    expect(await Promise.all(runs)).toMatchObject(expected);
  });
});

/** Asks anew all the time; the function returned ends that, and gives how often each answer came. */
function ask(port: number): () => Promise<Record<string, number>> {
  const answers: Record<string, number> = {};
  let goesOn = true;
  const asking = (async () => {
    for (; goesOn; await pause(4)) {
      const answer = await get(port, '/');
      answers[answer] = (answers[answer] ?? 0) + 1;
    }
  })();
  return async () => {
    goesOn = false;
    await asking;
    return answers;
  };
}

async function stop(app: Followed): Promise<void> {
  app.signal('SIGKILL');
  await app.gone();
}

/** What became of it, of requests meanwhile, and whether somebody serves afterwards. */
async function handOver(means: string, how: How): Promise<object> {
  const program = run(means, how);
  const { port } = await program.message<{ port: number }>('ready');
  expect(await get(port, '/jobs')).toBe('ok');
  const slow = get(port, '/slow');
  await program.message('slow');
  const stopAsking = ask(port);
  program.child.kill('SIGUSR2');
  const { pid } = await program.message<{ pid: number }>('ready');
  const successor = follow(pid);
  const exit = await program.exit();
  const meanwhile = Object.keys(await stopAsking());
  const outcome = { answer: await slow, jobs: jobsOf(program), exit, meanwhile, after: await get(port, '/') };
  await stop(successor);
  await program.closed;
  return outcome;
}

describe('G1: at SIGUSR2 nobody is refused, and the predecessor ends as its app would at SIGTERM', () => {
  it.each(ENDINGS('SIGUSR2'))('%s', { timeout: 60_000 }, async (means, _, { exit, ...rest }) => {
    // Nobody has sent it the signal it would end by.
    const ended = { ...rest, exit: exit.signal ? EXIT(0) : exit, meanwhile: ['ok'], after: 'ok' };
    // Without the option only what listens to SIGUSR2 has the app end.
    const isHeard = ['again', 'grace', 'nest'].includes(means);
    const alone = isHeard ? ended : { answer: 'slow', exit: EXIT(0), meanwhile: ['ok'], after: 'ok' };
    const hows = ['auto', 'serve with drain', 'serve'] as const;
    const outcomes = await Promise.all(hows.map((how) => handOver(means, how)));
    expect(outcomes).toMatchObject([ended, ended, alone]);
  });
});
