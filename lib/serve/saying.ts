// What `serve()` and `handover/auto` say of a handover by themselves: all that happens, or only what went wrong.
import { expectSupported } from '../fd/index.js';
import { type Logger, logFailures, logHandover, stderrLogger } from '../observe/log.js';

/**
 * Says what the option `log` asks for, until the function returned is called: `true` all of it on stderr, a logger all of it
 * there, `false` nothing; left out, failures on stderr, one line each. That nothing can be handed over is said at once.
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
