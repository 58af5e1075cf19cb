// The demo's options: what is wrong is named, before anything is started.

import { expect, test } from 'vitest';
import { node } from './helpers.js';

const demo = (...args: string[]) => node(['bench/demo.mjs', ...args]).ended;

test.each([
  [['--handovers', 'many'], 'option --handovers expects a whole number from 1 to 1000, got "many"'],
  [['--handovers', '2.5'], 'option --handovers expects a whole number from 1 to 1000, got "2.5"'],
  [['--handovers', '-1'], 'option --handovers expects a whole number from 1 to 1000, got "-1"'],
  [['--handovers=0'], 'option --handovers expects a whole number from 1 to 1000, got "0"'],
  [['--handovers'], 'option --handovers expects a whole number from 1 to 1000, got nothing'],
  [['--seconds', ''], 'option --seconds expects a number from 1 to 3600, got ""'],
  [['--seconds', '1e9'], 'option --seconds expects a number from 1 to 3600, got "1e9"'],
  [['--port', '65536'], 'option --port expects a whole number from 0 to 65535, got "65536"'],
  [['--json=yes'], 'option --json expects no value, got "yes"'],
  [['--handover', '5'], 'unknown option --handover'],
  [['-x'], 'unknown option -x'],
  [['5'], 'unexpected argument "5"'],
])('%j exits with 2 and says what is wrong', async (args, message) => {
  const { code, stdout, stderr } = await demo(...args);
  expect(stderr).toContain(message);
  expect(stdout).toBe('');
  expect(code).toBe(2);
});

test('--help explains every option', async () => {
  const { code, stdout } = await demo('--help');
  for (const option of ['--handovers', '--seconds', '--port', '--json', '--help']) expect(stdout).toContain(option);
  expect(code).toBe(0);
});
