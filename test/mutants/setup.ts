// Which test covers a mutant. StrykerJS takes what runs after the last `afterEach` for code of no test, and runs every test
// for a mutant in it. Here `onTestFinished` closes what a test has opened, so it stays that test's until the next begins.
interface Coverage {
  currentTestId?: string | undefined;
}

const coverage = (globalThis as { __stryker__?: Coverage }).__stryker__;
let current: string | undefined;

if (coverage) {
  Object.defineProperty(coverage, 'currentTestId', {
    get: () => current,
    set: (id: string | undefined) => {
      current = id ?? current;
    },
  });
}
