// `npm run test:faults`: the whole matrix, then random moments. `-- --short` is the schedule of CI; `--only <pattern>`
// runs the cells whose name matches it; `--seed <number>` replays the random ones; `--parallel <number>`; `--verbose`.
import process from 'node:process';
import { parseArgs } from 'node:util';
import { allCells, label } from './points.js';
import { randomCells, runAll, SHORT, seedNow } from './schedule.js';
import { explain, failed, formatTable } from './table.js';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    seed: { type: 'string' },
    random: { type: 'string' },
    parallel: { type: 'string', default: '6' },
    verbose: { type: 'boolean', default: false },
  },
});

const seed = Number(values.seed ?? seedNow());
const all = values.short ? allCells().filter((cell) => SHORT.includes(label(cell))) : allCells();
const cells = values.only === undefined ? all : all.filter((cell) => new RegExp(values.only ?? '').test(label(cell)));
const random = randomCells(seed, Number(values.random ?? (values.short ? 6 : 40)));
const runs = [...cells.map((cell) => ({ cell })), ...(values.only === undefined || values.random ? random : [])];

const started = performance.now();
const results = await runAll(runs, Number(values.parallel), (result) => {
  const mark = failed(result) ? 'FAILED' : 'ok';
  const text = `${mark.padEnd(6)} ${String(result.durationMs).padStart(6)} ms  ${label(result.cell)}`;
  process.stdout.write(`${text}\n`);
  if (failed(result)) {
    const text = explain(result).split('\n');
    process.stdout.write(`${(values.verbose ? text : text.filter((line) => line.startsWith('  - '))).join('\n')}\n`);
  } else if (values.verbose) {
    process.stdout.write(`${result.story}\n`);
  }
});
process.stdout.write(`\n${formatTable(results)}\n`);
process.stdout.write(`seed ${seed}, ${Math.round((performance.now() - started) / 1000)} s\n`);
process.exitCode = results.some(failed) ? 1 : 0;
