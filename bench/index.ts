// `npm run bench`: measures this package beside others. One file a benchmark, loaded when it is asked for.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runAll } from './all/all.js';
import type { Message } from './all/suite.js';
import type { Bench } from './lib/bench.js';
import { machine } from './lib/machine.js';
import { FLAG, HELP as HELP_FLAG, readOptions, some, UsageError, whole } from './lib/options.mjs';

interface Known {
  readonly summary: string;
  readonly load: () => Promise<{ readonly bench: Bench }>;
}

const BENCHES = new Map<string, Known>([
  [
    'fd',
    { summary: "passing descriptors, beside C and Node's own handle passing", load: () => import('./fd/bench.js') },
  ],
  ['hammer', { summary: 'the rate of `handover hammer`, beside that of wrk', load: () => import('./hammer/bench.js') }],
  [
    'herd',
    {
      summary: 'a new connection: one process, ten on one listener, ten with SO_REUSEPORT',
      load: () => import('./herd/bench.js'),
    },
  ],
  [
    'migrate',
    {
      summary: 'moving live connections, beside what their clients pay to reconnect',
      load: () => import('./migrate/bench.js'),
    },
  ],
  [
    'rebind',
    {
      summary: 'the listening descriptor inherited, beside the socket bound anew: TCP, Unix path, HTTPS',
      load: () => import('./rebind/bench.js'),
    },
  ],
  [
    'switch',
    {
      summary:
        'the same app handed over ten times by this package and by others: what clients lose, and how long it takes',
      load: () => import('./switch/bench.js'),
    },
  ],
  [
    'workers',
    {
      summary: '`handover run` beside node:cluster and pm2: requests, new connections, reloads under load',
      load: () => import('./workers/bench.js'),
    },
  ],
]);

const QUICK_ROUNDS = 2;
const PROGRESS_INTERVAL = 5_000;

/** Of many, with as many rounds as by default: none should take longer, and one that hangs must not take all the time. */
const LIMIT = { quick: 120_000, full: 360_000 };

const HELP = `Usage: npm run bench [-- NAME … [options]]

${[...BENCHES].map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`).join('\n')}

Without a name all of them, one after the other, in under 15 minutes; then, and with several names, what they found is
written as JSON and as a page.

  --rounds N  how often every contestant takes its turn, 1 to 1000; figures are medians over the rounds
  --quick     little work a turn and ${QUICK_ROUNDS} rounds, one where there are several: shows that it runs, in under two minutes;
              the figures mean nothing
  --out DIR   where JSON and page go, also those of a single one (default, of several: bench/results)
  --json      print one JSON object as the last line
  --help      show this

Results go to stdout, progress to stderr. The package is measured as built: npm run build first.
Exits with 0 when it has measured, 1 when it could not, 2 for bad options.
`;

interface CommandLine {
  readonly rounds?: number;
  /** Where the page goes. */
  readonly out?: string;
  readonly quick?: boolean;
  readonly json?: boolean;
  readonly help?: boolean;
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const known = { rounds: whole(1, 1000), out: some('a folder'), quick: FLAG, json: FLAG, help: HELP_FLAG };
    const { values: options, positionals: names } = readOptions<Required<CommandLine>>(args, known);
    if (options.help) {
      process.stdout.write(HELP);
      return 0;
    }
    const all = [...BENCHES.keys()];
    const twice = names.find((name, index) => names.indexOf(name) < index);
    if (twice !== undefined) throw new UsageError(`${JSON.stringify(twice)} is named twice`);
    const unknown = names.find((name) => !BENCHES.has(name));
    if (unknown !== undefined) {
      throw new UsageError(`unknown benchmark ${JSON.stringify(unknown)}; there are: ${all.join(', ')}`);
    }
    if (!isBuilt()) {
      process.stderr.write('bench: dist/ is not there, and the package is measured as built: npm run build\n');
      return 1;
    }
    const [name] = names;
    if (name !== undefined && names.length === 1 && options.out === undefined) return await one(name, options);
    return await many(names.length > 0 ? names : all, options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 2;
  }
}

/** Also as the child of {@link many}, which it tells by IPC how far it is and what it found. */
async function one(name: string, { quick = false, json, rounds: asked }: CommandLine): Promise<number> {
  const known = BENCHES.get(name) as Known;
  const { bench } = await known.load();
  const rounds = asked ?? (quick ? QUICK_ROUNDS : bench.defaultRounds);
  const tell = (message: Message): void => void process.send?.(message);
  const progress = process.send ? (text: string) => tell({ progress: text }) : progressLine();
  const found = await bench
    .run({ rounds, quick, progress })
    .catch((error: unknown) => {
      tell({ failure: String(error) });
      throw error;
    })
    .finally(() => progress(''));
  tell({ found: { ...found, rounds } });
  const { text, rows, figures, skipped, expectations = [] } = found;
  const about = { bench: name, date: new Date().toISOString(), ...machine(), rounds, quick };
  process.stdout.write(
    `${name}, ${about.date.slice(0, 10)}, ${about.kernel}, Node ${about.node}, ${about.cpus} CPUs, median (min to max) of ${rounds} rounds\n\n${text}\n`,
  );
  if (json) process.stdout.write(`${JSON.stringify({ ...about, skipped, expectations, rows, ...figures })}\n`);
  return 0;
}

async function many(
  names: readonly string[],
  { quick = false, rounds: asked, json = false, out }: CommandLine,
): Promise<number> {
  // That each runs is shown by one round.
  const rounds = asked ?? (quick ? 1 : undefined);
  const options = [...(quick ? ['--quick'] : []), ...(rounds === undefined ? [] : ['--rounds', String(rounds)])];
  const program = fileURLToPath(import.meta.url);
  const command = (name: string): string[] => [...process.execArgv, program, name, ...options];
  const timesAsLong = new Map<string, number>();
  for (const name of names) {
    if (asked === undefined) break;
    const byDefault = quick ? QUICK_ROUNDS : (await (BENCHES.get(name) as Known).load()).bench.defaultRounds;
    timesAsLong.set(name, Math.max(1, asked / byDefault));
  }
  const limit = (name: string): number => (quick ? LIMIT.quick : LIMIT.full) * (timesAsLong.get(name) ?? 1);
  return runAll({ names, command, limit, quick, json, out, progress: progressLine() });
}

function isBuilt(): boolean {
  return existsSync(fileURLToPath(import.meta.resolve('handover/fd')));
}

/** One line that is rewritten on a terminal; elsewhere a line now and then. */
function progressLine(): (text: string) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
    else if (text !== '' && performance.now() - last >= PROGRESS_INTERVAL) {
      last = performance.now();
      process.stderr.write(`${text}\n`);
    }
  };
}
