// Checks the options of a handover's methods, before any side effect; unknown ones are refused.
import { ADDRESS_OPTIONS } from '../endpoints/kinds.js';
import { typeError } from '../errors.js';
import { expectInteger, expectOptions, expectString } from '../fd/arguments.js';
import { RESERVED } from '../resources/ledger.js';
import type { CloseHookOptions, ListenOptions, UpgradeOptions } from './types.js';

export const LISTEN_OPTIONS: readonly string[] = ['name', 'migrate', ...ADDRESS_OPTIONS];

function checkMigration(migrate: unknown): void {
  const hooks = expectOptions('options.migrate', migrate, ['save', 'restore', 'stay']);
  for (const name of ['save', 'restore', 'stay']) {
    const isAbsent = name === 'stay' && hooks.stay === undefined;
    if (!isAbsent && typeof hooks[name] !== 'function')
      throw typeError(`options.migrate.${name}`, 'a function', hooks[name]);
  }
}

/**
 * Checks all but the address, which is checked where it is bound.
 * @throws TypeError an unknown option, one of another type, or a reserved name
 */
export function checkListenOptions(options: ListenOptions): ListenOptions {
  const { name, migrate } = expectOptions('options', options, LISTEN_OPTIONS);
  if (migrate !== undefined) checkMigration(migrate);
  if (name !== undefined && expectString('options.name', name).startsWith(RESERVED)) {
    throw typeError('options.name', `a name that does not begin with ${RESERVED}`, name);
  }
  return options;
}

const DEFAULT_HOOK_TIMEOUT = 5_000;

export function checkCloseHook(
  name: string,
  hook: unknown,
  options: CloseHookOptions,
): { readonly timeout: number; readonly after: string | undefined } {
  expectString('name', name);
  if (typeof hook !== 'function') throw typeError('hook', 'a function', hook);
  const { timeout = DEFAULT_HOOK_TIMEOUT, after } = expectOptions('options', options, ['timeout', 'after']);
  return {
    timeout: expectInteger('options.timeout', timeout, 1),
    after: after === undefined ? undefined : expectString('options.after', after),
  };
}

/** @throws TypeError an unknown option, or one of another type; RangeError a negative pid or uid */
export function checkUpgradeOptions(options: unknown): UpgradeOptions {
  const { signal, requester, profile } = expectOptions('options', options, ['signal', 'requester', 'profile']);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw typeError('options.signal', 'an AbortSignal', signal);
  if (profile !== undefined) expectString('options.profile', profile);
  if (requester !== undefined) checkRequester(requester);
  return options as UpgradeOptions;
}

const REQUESTERS: readonly unknown[] = ['app', 'signal', 'takeover', 'supervisor', 'control'];

function checkRequester(requester: unknown): void {
  const { by, signal, pid, uid } = expectOptions('options.requester', requester, ['by', 'signal', 'pid', 'uid']);
  if (!REQUESTERS.includes(by)) throw typeError('options.requester.by', `one of ${REQUESTERS.join(', ')}`, by);
  if (signal !== undefined) expectString('options.requester.signal', signal);
  for (const [name, value] of Object.entries({ pid, uid })) {
    if (value !== undefined) expectInteger(`options.requester.${name}`, value, 0);
  }
}
