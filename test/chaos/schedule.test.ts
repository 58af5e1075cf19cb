// A chaos schedule is the same again for the same seed, and from its own text.
import { describe, expect, it } from 'vitest';
import { formatSchedule, MODES, parseSchedule, scheduleOf } from './schedule.js';

describe.each(MODES)('a schedule of %s', (mode) => {
  const seeds = Array.from({ length: 50 }, (_, i) => i);

  it('is given again by its seed, and by no other', () => {
    for (const seed of seeds) expect(scheduleOf(mode, seed)).toEqual(scheduleOf(mode, seed));
    expect(new Set(seeds.map((seed) => formatSchedule({ ...scheduleOf(mode, seed), seed: 0 }))).size).toBe(
      seeds.length,
    );
  });

  it('is read from its own text', () => {
    for (const seed of seeds) {
      const schedule = scheduleOf(mode, seed);
      expect(parseSchedule(`# cut by hand\n\n${formatSchedule(schedule)}\n`)).toEqual(schedule);
    }
  });

  it('looks after each of its scenes', () => {
    for (const seed of seeds)
      expect(scheduleOf(mode, seed).steps.filter((step) => step.do === 'quiet')).toHaveLength(3);
  });
});

describe('the text of a schedule', () => {
  it.each([
    ['upgrade', /begins with "mode/],
    ['mode chains', /begins with "mode/],
    ['mode chain\nexplode', /no step of a schedule: explode/],
    ['mode chain\nkill nobody', /no step of a schedule: kill nobody/],
    ['mode chain\nstop in-charge', /no milliseconds in: stop in-charge/],
    ['mode chain\nuntil NOON', /no step of a schedule: until NOON/],
    ['mode chain\nupgrade twice', /no step of a schedule: upgrade twice/],
  ])('is refused: %j', (text, message) => {
    expect(() => parseSchedule(text)).toThrow(message);
  });
});
