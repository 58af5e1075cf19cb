// How the suite runs: `npm test` is the projects "pure" and "core", `npm run test:all` is these and "more".
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const { HANDOVER_TEST_REPORT: report, HANDOVER_TEST_APPS: apps } = process.env;

/** Programs and files beside the library: a change of the library need not run their tests each time. */
const MORE = /^test\/(?:bench|bundles|demo|examples|hammer|releases|report|verify)\/|\.all\.test\.ts$/;
/** A file that starts programs, or counts its own descriptors and children. It needs a process of its own. */
const NEEDS_PROCESS = /helpers\/(?:leaks|programs)\.js|node:child_process/;

const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .map((path) => `test/${path.replaceAll('\\', '/')}`)
  // test/apps needs packages of its own: npm run test:apps installs them.
  .filter((path) => path.endsWith('.test.ts') && !path.includes('/node_modules/'))
  .filter((path) => apps !== undefined || !path.startsWith('test/apps/'));
const more = files.filter((path) => MORE.test(path) || path.startsWith('test/apps/'));
const rest = files.filter((path) => !more.includes(path));
const pure = rest.filter((path) => !NEEDS_PROCESS.test(readFileSync(path, 'utf8')));
const core = rest.filter((path) => !pure.includes(path));

/** The tests of the library wait for other processes most of the time. */
const many = { maxWorkers: Math.min(3 * availableParallelism(), 12), sequence: { groupOrder: 0 } };
/** The others compute for long, and look at the time. They run after these. */
const few = { maxWorkers: Math.min(availableParallelism(), 4), sequence: { groupOrder: 1 } };

export default defineConfig({
  test: {
    // A test that needs a second try is a finding, not noise.
    retry: 0,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    slowTestThreshold: 2_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    projects: [
      { extends: true, test: { name: 'pure', ...many, include: pure, pool: 'threads', isolate: false } },
      { extends: true, test: { name: 'core', ...many, include: core, pool: 'forks', isolate: true } },
      { extends: true, test: { name: 'more', ...few, include: more, pool: 'forks', isolate: true } },
    ],
  },
});
