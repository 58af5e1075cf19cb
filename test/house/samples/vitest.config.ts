// Runs the samples that have to fail; helpers.test.ts looks at how they do.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['test/house/samples/*.sample.ts'], pool: 'forks', reporters: ['json'] },
});
