// Argument checks of the low-level calls: everything is refused here, before any system call.
import { rangeError, typeError } from '../errors.js';
import { MAX_FDS_PER_MESSAGE } from './native.js';

const MAX_INT = 0x7fffffff;

export function expectInteger(name: string, value: unknown, minimum: number, maximum: number = MAX_INT): number {
  const expected = `an integer from ${minimum} to ${maximum}`;
  if (typeof value !== 'number') throw typeError(name, expected, value);
  if (!Number.isInteger(value) || value < minimum || value > maximum) throw rangeError(name, expected, value);
  return value;
}

export function expectFd(name: string, value: unknown): number {
  return expectInteger(name, value, 0);
}

/** The descriptors as the Int32Array the addon takes; an Int32Array is not copied. */
export function expectFds(name: string, value: unknown, maximum: number = MAX_INT): Int32Array {
  if (!(value instanceof Int32Array) && !Array.isArray(value)) {
    throw typeError(name, 'an array of integers or an Int32Array', value);
  }
  if (value.length > maximum) throw rangeError(`${name}.length`, `at most ${maximum}`, value.length);
  for (let i = 0; i < value.length; i++) {
    const fd: unknown = value[i];
    if (typeof fd !== 'number' || (fd | 0) !== fd || fd < 0) expectFd(`${name}[${i}]`, fd);
  }
  return value instanceof Int32Array ? value : Int32Array.from(value as number[]);
}

/** As {@link expectFds}, and no more than one message carries. */
export function expectMessageFds(name: string, value: unknown): Int32Array {
  return expectFds(name, value, MAX_FDS_PER_MESSAGE);
}

export function expectBytes(name: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw typeError(name, 'a Buffer or Uint8Array', value);
  return value;
}

/** At least one byte: a stream socket drops the descriptors of an empty message (FACTS K1, unix(7)). */
export function expectPayload(name: string, value: unknown): Uint8Array {
  const bytes = expectBytes(name, value);
  if (bytes.length === 0) throw rangeError(`${name}.length`, 'at least 1: descriptors need a byte to travel with', 0);
  return bytes;
}

export function expectBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw typeError(name, 'a boolean', value);
  return value;
}

/** A boolean option, off where it is absent. */
export function expectFlag(name: string, value: unknown): boolean {
  return value !== undefined && expectBoolean(name, value);
}

export function expectString(name: string, value: unknown): string {
  if (typeof value !== 'string' || value.length === 0) throw typeError(name, 'a non-empty string', value);
  return value;
}

export function expectOneOf(name: string, value: unknown, choices: readonly string[]): void {
  if (typeof value !== 'string' || !choices.includes(value))
    throw typeError(name, `one of ${choices.join(', ')}`, value);
}

/** The options object itself, with nothing in it that is not in `known`, or in `old`, of which no error speaks. */
export function expectOptions(
  name: string,
  value: unknown,
  known: readonly string[],
  old: readonly string[] = [],
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw typeError(name, 'an object', value);
  for (const key of Object.keys(value)) {
    if (!known.includes(key) && !old.includes(key))
      throw typeError(`${name}.${key}`, `absent; the options are ${known.join(', ')}`, key);
  }
  return value as Record<string, unknown>;
}
