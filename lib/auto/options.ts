// The options of `handover/auto`: JSON in the environment.
import { typeError } from '../errors.js';
import { expectInteger } from '../fd/arguments.js';
import { HANDOVER_OPTION_NAMES, HANDOVER_OPTIONS } from '../process/options.js';
import { type CheckedServeOptions, checkServeOptions, type ServeOptions } from '../serve/serve.js';

const OPTIONS_VARIABLE = 'HANDOVER_AUTO';

/** Milliseconds without a further `listen` after which the unclaimed inherited listeners are closed. */
const CLAIM_TIMEOUT = 5_000;

interface AutoOptions extends CheckedServeOptions {
  readonly claimTimeout: number;
}

/** @throws TypeError, RangeError naming the bad option */
export function readAutoOptions(): AutoOptions {
  const { [OPTIONS_VARIABLE]: text } = process.env;
  const { claimTimeout = CLAIM_TIMEOUT, ...options } = parseOptions(text || '{}');
  const own = ['signals', 'log'];
  const unknown = Object.keys(options).filter((key) => ![...HANDOVER_OPTION_NAMES, ...own].includes(key));
  const known = [...Object.keys(HANDOVER_OPTIONS), ...own].join(', ');
  if (unknown.length > 0) throw typeError(OPTIONS_VARIABLE, `options among ${known}, claimTimeout`, unknown);
  const checked = checkServeOptions(options as ServeOptions, 'SIGTERM');
  return { ...checked, claimTimeout: expectInteger(`${OPTIONS_VARIABLE}.claimTimeout`, claimTimeout, 0) };
}

function parseOptions(text: string): Record<string, unknown> {
  try {
    const options: unknown = JSON.parse(text);
    if (typeof options === 'object' && options !== null) return options as Record<string, unknown>;
  } catch {}
  throw typeError(OPTIONS_VARIABLE, 'a JSON object of options, such as {"drain":{"timeout":10000}}', text);
}
