// `npm run test:mutants`: StrykerJS changes one thing at a time in the code of a folder; a test has to fail. Without
// arguments all folders; `-- protocol transfer` these; `-- protocol/rpc.ts` one file. `--concurrency <number>`; `--fresh`
// forgets the results of earlier runs; `--json` prints them as JSON. Exits with 1 where a folder is below 85 %.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { FOLDERS, type Folder } from './folders.js';
import { formatSurvivors, formatTable, type Report, type Row, rowOf } from './report.js';

/** Percent of the mutants of a folder that have to be noticed. */
const NEEDED = 85;
/** Not in git, not in the package. */
const PLACE = '.mutants';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    concurrency: { type: 'string', default: String(Math.max(1, Math.floor(availableParallelism() / 2))) },
    fresh: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

interface Task {
  readonly folder: Folder;
  /** Every file of the folder where undefined. */
  readonly file: string | undefined;
}

function taskOf(argument: string): Task {
  const [name = '', ...rest] = argument
    .replace(/^lib\//, '')
    .replace(/\/$/, '')
    .split('/');
  const folder = FOLDERS.find((folder) => folder.name === name);
  if (!folder) {
    process.stderr.write(`no folder ${name}; there are ${FOLDERS.map(({ name }) => name).join(', ')}\n`);
    process.exit(2);
  }
  return { folder, file: rest.length > 0 ? `lib/${name}/${rest.join('/')}` : undefined };
}

function configOf({ folder, file }: Task): object {
  const at = `${PLACE}/${folder.name}`;
  return {
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    vitest: { configFile: 'test/mutants/vitest.config.ts', related: false },
    mutate: file === undefined ? folder.mutate : [file],
    // The texts of errors and logs are most strings; the others are names of which the compiler knows the right ones.
    mutator: { excludedMutations: ['StringLiteral'] },
    coverageAnalysis: 'perTest',
    // The tables are code of the file's top: every test of the folder runs on a change in one.
    ignoreStatic: false,
    concurrency: Number(values.concurrency),
    timeoutMS: 20_000,
    timeoutFactor: 3,
    dryRunTimeoutMinutes: 15,
    incremental: true,
    force: values.fresh,
    incrementalFile: `${at}.incremental.json`,
    tempDirName: `${PLACE}/sandbox-${folder.name}`,
    // The sandbox is a copy, with build/ and prebuilds/ for the addon and with dist/.
    ignorePatterns: ['.git', PLACE, 'headers', 'coverage', 'bench/results', 'test/apps/packages', 'docs'],
    // It would be rewritten by TypeScript's old API; Vitest does not read it.
    tsconfigFile: 'none',
    disableTypeChecks: false,
    reporters: values.json ? ['json'] : ['json', process.stdout.isTTY ? 'progress' : 'progress-append-only'],
    jsonReporter: { fileName: `${at}.json` },
    logLevel: 'warn',
    warnings: { slow: false },
    allowConsoleColors: false,
    thresholds: { break: null },
  };
}

async function run(task: Task): Promise<Row> {
  const { folder, file } = task;
  const config = `${PLACE}/${folder.name}.config.json`;
  mkdirSync(PLACE, { recursive: true });
  rmSync(`${PLACE}/${folder.name}.json`, { force: true });
  writeFileSync(config, JSON.stringify(configOf(task), null, 2));
  const stryker = spawn('node_modules/.bin/stryker', ['run', config], {
    env: { ...process.env, HANDOVER_MUTANT_TESTS: folder.tests.join(' ') },
    // Its complaints are none of the JSON.
    stdio: ['ignore', values.json ? 2 : 'inherit', 'inherit'],
  });
  const [code] = await once(stryker, 'exit');
  if (code !== 0) throw new Error(`StrykerJS ended with ${code} on ${folder.name}`);
  const report = JSON.parse(readFileSync(`${PLACE}/${folder.name}.json`, 'utf8')) as Report;
  return rowOf(file ?? folder.name, report, (path) => file === undefined || path === file);
}

const rows: Row[] = [];
for (const task of positionals.length > 0
  ? positionals.map(taskOf)
  : FOLDERS.map((folder) => ({ folder, file: undefined }))) {
  const row = await run(task);
  rows.push(row);
  if (!values.json) process.stdout.write(`\n${formatSurvivors(row.survivors)}\n`);
}
process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : `${formatTable(rows)}\n`);
process.exitCode = rows.some(({ score }) => score < NEEDED) ? 1 : 0;
