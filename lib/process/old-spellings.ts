// The spellings that options and calls had in older versions. They work in this version, with one warning each; //
// docs/UPGRADING.md lists them.
import { typeError } from '../errors.js';
import type { Check } from '../platform/preflight.js';
import type { HealthEndpointOptions } from './health-endpoint.js';

/** Each old spelling, and the present option. `probation` as a number and `health` as a function are old, too. */
export const OLD_OPTIONS = {
  drainTimeout: 'drain.timeout',
  drainIdleTimeout: 'drain.idleTimeout',
  closeSpread: 'drain.spread',
  probation: 'probation.duration',
  probationStall: 'probation.stallTimeout',
  health: 'health.check',
  healthEndpoint: 'health.endpoint',
  check: 'preflight.command',
  checkMemory: 'preflight.memory',
  connections: 'migrate',
} as const;

/** The types of the old spellings. */
export interface OldOptions {
  /** @deprecated `drain.timeout` */
  readonly drainTimeout?: number;
  /** @deprecated `drain.idleTimeout` */
  readonly drainIdleTimeout?: number;
  /** @deprecated `drain.spread` */
  readonly closeSpread?: number;
  /** @deprecated `probation.stallTimeout` */
  readonly probationStall?: number;
  /** @deprecated `health.endpoint` */
  readonly healthEndpoint?: HealthEndpointOptions;
  /** @deprecated `preflight.command` */
  readonly check?: Check;
  /** @deprecated `preflight.memory` */
  readonly checkMemory?: boolean;
  /** @deprecated `migrate` */
  readonly connections?: 'move' | 'drain';
}

/** The former types of two options that are groups now: `probation` in milliseconds, and `health` the function. */
export interface OldForms {
  readonly probation: number;
  readonly health: () => boolean | Promise<boolean>;
}

/** The `typeof` by which a former value is told from the group. */
export const OLD_FORMS: Readonly<Record<string, string>> = { probation: 'number', health: 'function' };

/**
 * Returns the options with each old spelling replaced, and warns of it.
 * @throws TypeError an option is given in both spellings
 */
export function renewOptions(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const renewed = { ...given };
  for (const [old, now] of Object.entries(OLD_OPTIONS)) {
    const value = given[old];
    const isOldForm = (OLD_FORMS[old] ?? typeof value) === typeof value;
    if (value === undefined || !isOldForm) continue;
    delete renewed[old];
    put(renewed, old, now, old === 'connections' ? migrates(value) : value);
    warnOfOldSpelling(OLD_FORMS[old] === undefined ? old : `${old} as a ${OLD_FORMS[old]}`, now);
  }
  return renewed;
}

function put(options: Record<string, unknown>, old: string, now: string, value: unknown): void {
  const [name = '', member] = now.split('.');
  const { [name]: present } = options;
  if (member === undefined ? present !== undefined : Object.hasOwn(present ?? {}, member)) {
    throw typeError(`options.${old}`, `absent where there is options.${now}`, value);
  }
  options[name] = member === undefined ? value : { ...(present as object | undefined), [member]: value };
}

function migrates(connections: unknown): boolean {
  if (connections === 'move' || connections === 'drain') return connections === 'move';
  throw typeError('options.connections', "'move' or 'drain'", connections);
}

const warned = new Set<string>();

/** Warns by `process.emitWarning`, once in this process for each spelling. */
export function warnOfOldSpelling(old: string, now: string): void {
  if (warned.has(old)) return;
  warned.add(old);
  const message = `handover: ${old} is spelled ${now} now; the next minor version drops the old spelling (docs/UPGRADING.md)`;
  process.emitWarning(message, { type: 'DeprecationWarning', code: 'HANDOVER_DEPRECATED' });
}
