// G4, G5: at most one process is in charge, and one is while anybody is alive that may be, for every order of frames,
// decisions, deaths and stops of up to four processes: all worlds that can come about are looked at.
import { describe, expect, it } from 'vitest';
import { figures } from '../engine/engine.js';
import { explore } from './generations-model.js';

const bounds = { processes: 3, kills: 3, stops: 1, aborts: 1, isSupervised: false };
const LONG = 120_000;

/** A drains, B is in charge. */
const SUCCEEDED = [
  'A is ready',
  'A claims (bereft)',
  'A starts B',
  'B reads HELLO',
  'A reads HELLO',
  'B reads MANIFEST 1',
  'B is ready',
  'A reads CLAIMED',
  'A reads READY',
  'A commits',
  'B reads COMMIT',
  'B takes charge',
  'A reads COMMITTED',
];

describe('G4, G5: whoever dies or stops, and whenever', () => {
  it('of three generations exactly one is in charge', { timeout: LONG }, () => {
    const start = performance.now();
    const { worlds, finding } = explore(bounds);
    figures(`three generations: ${worlds} worlds in ${Math.round(performance.now() - start)} ms`);
    expect(finding).toBeUndefined();
    expect(worlds).toBeGreaterThan(10_000);
  });

  it('of three generations and what a supervisor starts, exactly one is in charge', { timeout: LONG }, () => {
    const start = performance.now();
    const { worlds, finding } = explore(
      { ...bounds, processes: 4, aborts: 0, isSupervised: true, diesAtOnce: true },
      SUCCEEDED,
    );
    figures(`with a supervisor: ${worlds} worlds in ${Math.round(performance.now() - start)} ms`);
    expect(finding).toBeUndefined();
    expect(worlds).toBeGreaterThan(10_000);
  });
});

describe('what the model finds', () => {
  it('two in charge, without the arbiter', { timeout: LONG }, () => {
    const { finding } = explore({ ...bounds, without: 'arbiter' });
    expect(finding?.what).toMatch(/^[ABC] and [ABC] are in charge$/);
  });

  it('nobody in charge, where a claimant gives up as soon as it is refused', { timeout: LONG }, () => {
    const { finding } = explore({ ...bounds, without: 'patience' });
    expect(finding?.what).toMatch(/^nobody is in charge, and /);
  });
});
