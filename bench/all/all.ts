// A run of many benchmarks: tells how far it is, and writes what they found as JSON and as a page.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machine, measured } from '../lib/machine.js';
import { minutes, pageOf, type Run } from './page.js';
import { type Ended, runSuite, type SuiteOptions } from './suite.js';

export interface AllOptions extends Pick<SuiteOptions, 'names' | 'command' | 'limit' | 'progress'> {
  readonly quick: boolean;
  readonly json: boolean;
  /** @default bench/results */
  readonly out: string | undefined;
}

const RESULTS = fileURLToPath(new URL('../results', import.meta.url));

/** The exit code: 1 when one of them failed. */
export async function runAll({ quick, json, out = RESULTS, ...options }: AllOptions): Promise<number> {
  const folder = resolve(out);
  // Where nothing can be written nothing is measured.
  mkdirSync(folder, { recursive: true });
  const about = { date: new Date().toISOString(), ...machine(), ...measured(), quick };
  const started = performance.now();
  const interrupted = new AbortController();
  // To the end, and more than once: npm delivers one Ctrl-C again, and the page is still to be written.
  const interrupt = (): void => interrupted.abort();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, interrupt);
  const elapsed = (): number => Math.round(performance.now() - started);
  const progress = (text: string): void => options.progress(`${text} (${minutes(elapsed())} in all)`);
  const ended = (one: Ended): void => tell(one, options.progress);
  const benches = await runSuite({ ...options, progress, ended, signal: interrupted.signal });
  options.progress('');
  const run: Run = { ...about, elapsedMs: elapsed(), benches };
  const base = join(folder, about.date.replaceAll(':', '-').replace(/\.\d+/, ''));
  const data = JSON.stringify(forPrograms(run));
  writeFileSync(`${base}.json`, `${data}\n`);
  writeFileSync(`${base}.html`, pageOf(run));
  process.stdout.write(conclusion(run, base));
  if (json) process.stdout.write(`${data}\n`);
  return interrupted.signal.aborted || benches.some(({ found }) => !found) ? 1 : 0;
}

/** As soon as it is known: the rest takes minutes. */
function tell({ name, elapsedMs, found, failure, left }: Ended, progress: (text: string) => void): void {
  progress('');
  const how = `${found ? found.text : `failed: ${failure}`}\n${left ? `\nleft behind: ${left}\n` : ''}`;
  process.stdout.write(`=== ${name}, ${minutes(elapsedMs)}\n\n${how}\n`);
}

function conclusion({ benches, elapsedMs }: Run, base: string): string {
  const failed = benches.filter(({ found }) => !found).map(({ name }) => name);
  const skipped = benches.flatMap(({ name, found }) => (found?.skipped ?? []).map((what) => `${name}: ${what}`));
  const bars = benches.flatMap(({ found }) => found?.expectations ?? []);
  const unshown = bars.filter(({ reached }) => reached === undefined).length;
  const lines = [
    `${benches.length - failed.length} of ${benches.length} benchmarks measured in ${minutes(elapsedMs)}`,
    ...(failed.length > 0 ? [`failed: ${failed.join(', ')}`] : []),
    ...benches.flatMap(({ name, left }) => (left ? [`left behind by ${name}: ${left}`] : [])),
    ...(skipped.length > 0 ? [`skipped, not on this machine: ${skipped.join(', ')}`] : []),
    `bars reached: ${bars.filter(({ reached }) => reached).length} of ${bars.length}${unshown > 0 ? `, ${unshown} not shown: too few rounds` : ''}`,
    `wrote ${base}.json`,
    `wrote ${base}.html`,
  ];
  return `${lines.join('\n')}\n`;
}

/** What only the page shows is left out. */
function forPrograms({ benches, ...about }: Run): object {
  return {
    ...about,
    benches: benches.map(({ found, ...one }) => {
      if (!found) return one;
      const { text: _, tables: __, notes: ___, charts: ____, figures, ...data } = found;
      return { ...one, ...data, ...figures };
    }),
  };
}
