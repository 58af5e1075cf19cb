// `npm run verify`: connection success, zero loss and no leak, over a soak with a handover every few seconds.
import { mkdirSync, mkdtempSync, readdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isSupported } from 'handover/fd';
import { UsageError } from '../lib/options.mjs';
import { checkAll } from './checks.js';
import { HELP, parseOptions, type VerifyOptions } from './options.js';
import { type Outcome, writeReport } from './report.js';
import { soak } from './soak.js';
import type { Signals } from './subject.js';
import { ProgressLine } from './view.js';

/** One Ctrl-C under npm arrives more than once, from the terminal, from npm and from tsx: later ones are second ones. */
const SECOND_SIGNAL_AFTER = 1_000;
const INTERRUPTED = 130;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      process.stdout.write(HELP);
      return 0;
    }
    if (process.platform !== 'linux' || !isSupported()) {
      process.stderr.write('verify: it needs Linux, for /proc, and the addon: npm run build\n');
      return 1;
    }
    return await verify(options, makeDirectory(options.out));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`verify: ${error.message}\n`);
    return 2;
  }
}

async function verify(options: VerifyOptions, out: string): Promise<number> {
  const { signals, ignore } = listenToSignals();
  const view = new ProgressLine(process.stderr, options.minutes * 60_000);
  try {
    const evidence = await soak(options, out, view, signals).finally(() => view.end());
    const isInterrupted = signals.interrupted.aborted;
    const outcome: Outcome = { options, evidence, checks: checkAll(evidence), out, isInterrupted };
    const { report, text } = await writeReport(outcome);
    (options.json ? process.stderr : process.stdout).write(text);
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    return isInterrupted ? INTERRUPTED : report.verdict === 'PASS' ? 0 : 1;
  } catch (error) {
    if (signals.interrupted.aborted) return INTERRUPTED;
    process.stderr.write(`verify: ${(error as Error).message}\n`);
    return 1;
  } finally {
    ignore();
  }
}

/** Real: descriptors are recognised by it. @throws UsageError it holds something, or cannot be made */
function makeDirectory(out: string | undefined): string {
  if (out === undefined) return realpathSync(mkdtempSync(join(tmpdir(), 'handover-verify-')));
  try {
    mkdirSync(out, { recursive: true });
    if (readdirSync(out).length > 0) throw new Error('it is not empty');
    return realpathSync(out);
  } catch (error) {
    throw new UsageError(`option --out expects an empty directory, or one to be made: ${(error as Error).message}`);
  }
}

function listenToSignals(): { readonly signals: Signals; ignore(): void } {
  const [first, second] = [new AbortController(), new AbortController()];
  let firstAt = 0;
  const onSignal = (): void => {
    if (first.signal.aborted && performance.now() - firstAt > SECOND_SIGNAL_AFTER) second.abort();
    if (first.signal.aborted) return;
    firstAt = performance.now();
    first.abort();
    process.stderr.write('\nverify: interrupted; ending the servers (once more: at once)\n');
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, onSignal);
  // Nobody reads any more: as good as an interruption.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => first.abort());
  return {
    signals: { interrupted: first.signal, hurry: second.signal },
    ignore: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}
