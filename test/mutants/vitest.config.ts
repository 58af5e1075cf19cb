// How the tests run on mutants: the files that the runner names, each in a process of its own, one after the other.
import { defineConfig } from 'vitest/config';
import type { Reporter, Vitest } from 'vitest/node';

const { HANDOVER_MUTANT_TESTS: tests = '' } = process.env;

let vitest: Vitest | undefined;

/** StrykerJS sees failed tests and errors outside of tests. A file that cannot be loaded has no tests: an error, too. */
const loading: Reporter = {
  onInit: (started) => {
    vitest = started;
  },
  onTestModuleEnd: (module) => {
    for (const error of module.errors()) vitest?.state.catchError(error, 'Error while loading');
  },
};

export default defineConfig({
  // StrykerJS asks for threads. A test counts the descriptors of its process, and a mutant closes one that is not its own.
  plugins: [
    {
      name: 'processes',
      configureVitest({ project }) {
        project.config.pool = 'forks';
      },
    },
  ],
  test: {
    include: tests.split(' '),
    isolate: true,
    retry: 0,
    // A test of these takes milliseconds; what hangs is a mutant noticed.
    testTimeout: 10_000,
    hookTimeout: 10_000,
    teardownTimeout: 2_000,
    setupFiles: ['test/mutants/setup.ts'],
    reporters: [loading],
  },
});
