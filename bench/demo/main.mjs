// The demo as a command: options in, exit code out.

import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../lib/options.mjs';
import { BuildError, buildMissing } from './build.mjs';
import { help, parseOptions } from './options.mjs';
import { succeeded, toJson, toTable, troubles } from './report.mjs';
import { painter } from './text.mjs';
import { View } from './view.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const app = path.join(root, 'bench', 'demo', 'app.mjs');

/** One Ctrl-C under npm arrives twice, from the terminal and from npm: only a later signal is a second one. */
const secondSignalAfter = 1_000;
const parentInterval = 500;

/**
 * @param {string[]} args
 * @param {string} [script] Another server to demonstrate, which then is taken as it is.
 * @returns {Promise<number>} The exit code.
 */
export async function main(args, script) {
  let wanted;
  try {
    wanted = parseOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`demo: ${error.message}\n`);
    return 2;
  }
  if (wanted.help) {
    process.stdout.write(help);
    return 0;
  }

  // With --json nothing but the JSON goes to stdout.
  const screen = wanted.json ? process.stderr : process.stdout;
  const view = new View(screen);
  const interruption = interruptions();
  try {
    if (script === undefined) {
      await buildMissing(root, (notice) => process.stderr.write(`demo: ${notice}\n`), interruption.first);
    }
    // What it loads stands in dist/, too.
    const { run } = await import('./run.mjs');
    const result = await run({
      wanted,
      script: script ?? app,
      root,
      view,
      interrupted: interruption.first,
      hurry: interruption.second,
    });
    if (interruption.first.aborted) {
      const left = result.problems.filter((problem) => problem !== 'interrupted');
      process.stderr.write(['demo: interrupted', ...left].join('\n').concat('\n'));
      return 130;
    }
    if (wanted.json) {
      const lines = troubles(result, painter(process.stderr));
      if (lines.length > 0) process.stderr.write(`${lines.join('\n').trimStart()}\n`);
      process.stdout.write(`${toJson(result)}\n`);
    } else {
      process.stdout.write(`\n${toTable(result, painter(process.stdout))}\n`);
    }
    return succeeded(result) ? 0 : 1;
  } catch (error) {
    if (interruption.first.aborted) return 130;
    if (!(error instanceof BuildError)) throw error;
    process.stderr.write(`demo: ${error.message}\n`);
    return 1;
  } finally {
    interruption.over();
  }
}

/** The first signal ends the run in good order, a second one does not wait for that. */
function interruptions() {
  const first = new AbortController();
  const second = new AbortController();
  let firstAt = 0;
  const interrupt = () => {
    if (!first.signal.aborted) {
      firstAt = performance.now();
      first.abort();
    } else if (performance.now() - firstAt > secondSignalAfter) {
      second.abort();
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const name of signals) process.on(name, interrupt);
  // Nobody reads any more (`npm run demo | head`): as good as an interruption.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => first.abort());
  // A signal to npm alone ends npm and its shell and is not passed on: the changed parent tells.
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid !== parent) first.abort();
  }, parentInterval);
  if (process.env.npm_lifecycle_event === undefined) clearInterval(watch);
  return {
    first: first.signal,
    second: second.signal,
    /** Its answer is known. The signals stay caught: one more would kill it on its way out, and take the exit code with it. */
    over() {
      clearInterval(watch);
    },
  };
}
