// The log of `serve()` and `handover/auto`: all events of a handover, or only its failures.
import { expectSupported } from '../fd/index.js';
import { type Logger, logFailures, logHandover, stderrLogger } from '../observe/log.js';

/**
 * Logs as the option `log` asks, until the returned function is called: `true` all events on stderr, a logger all events to it,
 * `false` none; left out, failures on stderr, one line each. Where handovers are impossible, it logs the reason at once.
 */
export function sayWhatHappens(log: boolean | Logger | undefined): () => void {
  if (log === false) return () => {};
  const logger = typeof log === 'object' ? log : stderrLogger;
  const stop = log === undefined ? logFailures(logger) : logHandover(logger);
  try {
    expectSupported();
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string };
    logger.warn({ event: 'unsupported', pid: process.pid, code }, `cannot hand over, because there is ${message}`);
  }
  return stop;
}
