// How the suite runs: one process for each test file, so that a file can count its own descriptors and children.
import { defineConfig } from 'vitest/config';

const { HANDOVER_TEST_REPORT: report, HANDOVER_TEST_APPS: apps } = process.env;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They need packages of their own: npm run test:apps installs them.
    exclude: ['**/node_modules/**', ...(apps === undefined ? ['test/apps/**'] : [])],
    pool: 'forks',
    isolate: true,
    maxWorkers: 2,
    // A test that needs a second try is a finding, not noise.
    retry: 0,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    slowTestThreshold: 2_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
});
