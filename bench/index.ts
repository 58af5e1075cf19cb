// `npm run bench -- NAME`: measures this package beside others. One file a benchmark, loaded when it is asked for.
import { existsSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Bench } from './lib/bench.js';
import { parseCommandLine, UsageError } from './lib/options.js';

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
    'migrate',
    {
      summary: 'moving live connections, beside what their clients pay to reconnect',
      load: () => import('./migrate/bench.js'),
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

const HELP = `Usage: npm run bench -- NAME [options]

${[...BENCHES].map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`).join('\n')}

  --rounds N  how often every contestant takes its turn, 1 to 1000; figures are medians over the rounds
  --quick     little work a turn and ${QUICK_ROUNDS} rounds: shows that it runs, the figures mean nothing
  --json      print one JSON object as the last line
  --help      show this

Results go to stdout, progress to stderr. The package is measured as built: npm run build first.
Exits with 0 when it has measured, 1 when it could not, 2 for bad options.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseCommandLine(args);
    if (options.help) {
      process.stdout.write(HELP);
      return 0;
    }
    const names = [...BENCHES.keys()].join(', ');
    if (options.name === undefined) throw new UsageError(`which benchmark? There are: ${names}`);
    const known = BENCHES.get(options.name);
    if (known === undefined) throw new UsageError(`unknown benchmark "${options.name}"; there are: ${names}`);
    if (!isBuilt()) {
      process.stderr.write('bench: dist/ is not there, and the package is measured as built: npm run build\n');
      return 1;
    }
    const { bench } = await known.load();
    const rounds = options.rounds ?? (options.quick ? QUICK_ROUNDS : bench.defaultRounds);
    const progress = progressLine();
    const { text, rows, figures, skipped } = await bench
      .run({ rounds, quick: options.quick, progress })
      .finally(() => progress(''));
    const about = { bench: options.name, date: new Date().toISOString(), ...machine(), rounds, quick: options.quick };
    process.stdout.write(
      `${options.name}, ${about.date.slice(0, 10)}, ${about.kernel}, Node ${about.node}, ${about.cpus} CPUs, median (min to max) of ${rounds} rounds\n\n${text}\n`,
    );
    if (options.json) process.stdout.write(`${JSON.stringify({ ...about, skipped, rows, ...figures })}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 2;
  }
}

function isBuilt(): boolean {
  return existsSync(fileURLToPath(import.meta.resolve('handover/fd')));
}

function machine(): { kernel: string; node: string; cpus: number } {
  return {
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version.slice(1),
    cpus: os.availableParallelism(),
  };
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
