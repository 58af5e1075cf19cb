// Warns, once for each server, of request timeouts that are longer than a drain.
import type { Listener } from './types.js';

/** Node's defaults. A server that is made with a `requestTimeout` has the lower of the two, or 0, as `headersTimeout`. */
const NODE_REQUEST_TIMEOUT = 300_000;
const NODE_HEADERS_TIMEOUT = 60_000;

const warned = new WeakSet<Listener>();

/**
 * Warns where the app has set `requestTimeout` or `headersTimeout` to more than `drain.timeout`, or to 0, which is no
 * limit: the drain would cut requests that the app means to allow. Node's defaults are longer than the default of
 * `drain.timeout`, too. They cause no warning, because the app did not choose them and a warning in every log would be
 * ignored.
 */
export function warnOfTimeouts(listener: Listener, name: string, drainTimeout: number): void {
  const { requestTimeout, headersTimeout } = listener as { requestTimeout?: number; headersTimeout?: number };
  if (requestTimeout === undefined || headersTimeout === undefined || warned.has(listener)) return;
  const isChosen = {
    requestTimeout: requestTimeout !== NODE_REQUEST_TIMEOUT,
    headersTimeout: ![NODE_HEADERS_TIMEOUT, Math.min(NODE_HEADERS_TIMEOUT, requestTimeout)].includes(headersTimeout),
  };
  const isLonger = (timeout: number): boolean => timeout === 0 || timeout > drainTimeout;
  const long = Object.entries({ requestTimeout, headersTimeout })
    .filter(([key, value]) => isChosen[key as keyof typeof isChosen] && isLonger(value))
    .map(([key, value]) => `${key} ${value === 0 ? '0 (for ever)' : `${value} ms`}`);
  if (long.length === 0) return;
  warned.add(listener);
  const message = `"${name}" allows a request more than the drain.timeout of ${drainTimeout} ms, after which it is cut: ${long.join(', ')}`;
  process.emitWarning(message, { type: 'HandoverWarning', code: 'HANDOVER_DRAIN_TIMEOUT' });
}
