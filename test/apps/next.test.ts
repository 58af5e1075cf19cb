// G1, G2, G3: `next start`, unchanged, through three handovers under load.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { fixture, installed, Served } from './served.js';

expectNoLeaks();
const { start } = usePrograms();
const APP = fixture('next-app');
const NEXT = installed('next/dist/bin/next');
const env = { NEXT_TELEMETRY_DISABLED: '1', CI: '1' };

it('next start: pages rendered on request, nothing refused, lost or closed', async () => {
  onTestFinished(() => rmSync(join(APP, '.next'), { recursive: true, force: true }));
  const build = start(new URL(`file://${NEXT}`), { args: ['build'], cwd: APP, env });
  expect(await build.exit(180_000)).toEqual({ code: 0, signal: null });
  const served = await Served.start(start, {
    script: NEXT,
    args: (port) => ['start', '-p', String(port), '-H', '127.0.0.1'],
    cwd: APP,
    env: () => env,
  });
  await served.throughThree();
  await served.stop();
}, 400_000);
