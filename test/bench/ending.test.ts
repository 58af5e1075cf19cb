// What a benchmark starts is ended once, in any case, and its folders go after it.
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Ending, withEnding } from '../../bench/lib/ending.js';
import { Program, within } from '../../bench/lib/program.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const FOREVER = ['-e', 'console.log("here"); setInterval(() => {}, 1e6)'];

it('ends a program that hangs, once, and then removes its folder', async () => {
  let folder = '';
  let program: Program | undefined;
  let ends = 0;
  const run = withEnding(async (ending) => {
    folder = ending.folder();
    ending.own({ end: async () => void (existsSync(folder) && ends++) });
    program = ending.own(new Program({ args: FOREVER }));
    await program.says(/^here$/);
    await ending.end();
    await program.says(/^never$/, 50);
  });
  await expect(run).rejects.toThrow('ended before it said /^never$/');
  expect(program?.child.signalCode).toBe('SIGTERM');
  expect([ends, existsSync(folder)]).toEqual([1, false]);
});

it('names what a program that is there does not say in time', async () => {
  const ending = new Ending();
  const program = ending.own(new Program({ args: FOREVER }));
  await expect(program.says(/^never$/, 200)).rejects.toThrow('did not say /^never$/ within 200 ms');
  await expect(within(new Promise(() => {}), 20, 'its start')).rejects.toThrow('its start took more than 20 ms');
  await ending.end();
});

it('ends the others where one end fails, and whoever comes too late', async () => {
  const ending = new Ending();
  const ended: string[] = [];
  ending.own({ end: () => Promise.reject(new Error('no')) });
  ending.own({ end: async () => void ended.push('other') });
  await expect(ending.end()).rejects.toThrow('no');
  expect(() => ending.own({ end: async () => void ended.push('late') })).toThrow('interrupted');
  expect(ended).toEqual(['other', 'late']);
});
