// The options of `openHandover`, `listen` and `serve`, checked before any side effect: unknown ones are refused.
import { typeError } from '../errors.js';
import { expectBoolean, expectInteger, expectOptions, expectString } from '../fd/arguments.js';
import { ADDRESS_OPTIONS } from '../ledger/address.js';
import { RESERVED } from '../ledger/ledger.js';
import type { CloseHookOptions, ListenOptions } from './types.js';

export interface HandoverOptions {
  /** Milliseconds a successor may take from its start to `ready()`. @default 60000 */
  readonly readyTimeout?: number;
  /** Milliseconds connections may take to end once this process is superseded or closing. @default 30000 */
  readonly drainTimeout?: number;
  /** Hand over also where the end of this process would take the successor along. @default false */
  readonly allowOrphan?: boolean;
}

export const HANDOVER_OPTIONS: readonly string[] = ['readyTimeout', 'drainTimeout', 'allowOrphan'];

export function checkHandoverOptions(options: HandoverOptions): Required<HandoverOptions> {
  const {
    readyTimeout = 60_000,
    drainTimeout = 30_000,
    allowOrphan = false,
  } = expectOptions('options', options, HANDOVER_OPTIONS);
  return {
    readyTimeout: expectInteger('options.readyTimeout', readyTimeout, 1),
    drainTimeout: expectInteger('options.drainTimeout', drainTimeout, 0),
    allowOrphan: expectBoolean('options.allowOrphan', allowOrphan),
  };
}

/** The address itself is checked where it is bound. */
export function checkListenOptions(options: ListenOptions): ListenOptions {
  const { name } = expectOptions('options', options, ['name', ...ADDRESS_OPTIONS]);
  if (name !== undefined && expectString('options.name', name).startsWith(RESERVED)) {
    throw typeError('options.name', `a name that does not begin with ${RESERVED}`, name);
  }
  return options;
}

const DEFAULT_HOOK_TIMEOUT = 5_000;

export function checkCloseHook(name: string, hook: unknown, options: CloseHookOptions): number {
  expectString('name', name);
  if (typeof hook !== 'function') throw typeError('hook', 'a function', hook);
  const { timeout = DEFAULT_HOOK_TIMEOUT } = expectOptions('options', options, ['timeout']);
  return expectInteger('options.timeout', timeout, 1);
}
