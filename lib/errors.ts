// Every error the package raises: what the OS refused, what a handover failed of, what the caller got wrong.
import { getSystemErrorMap, inspect } from 'node:util';

/** An error of the operating system, in the shape Node gives its own. */
export interface SystemError extends Error {
  /** Negative errno. */
  errno: number;
  code: string;
  syscall: string;
  fd?: number;
  address?: string;
  port?: number;
  path?: string;
}

/** What the failed call was about; each is copied onto the error. */
export interface SystemErrorDetails {
  readonly fd?: number | undefined;
  readonly address?: string | undefined;
  readonly port?: number | undefined;
  readonly path?: string | undefined;
}

/** Builds the error for a negative errno: `bind EADDRINUSE: address already in use 127.0.0.1:80`. */
export function systemError(errno: number, syscall: string, details: SystemErrorDetails = {}): SystemError {
  const [code, text] = getSystemErrorMap().get(errno) ?? [`E${-errno}`, 'unknown error'];
  const error = new Error(`${syscall} ${code}: ${text}${describeDetails(details)}`) as SystemError;
  error.errno = errno;
  error.code = code;
  error.syscall = syscall;
  for (const [key, value] of Object.entries(details)) {
    if (value !== undefined) Object.assign(error, { [key]: value });
  }
  return error;
}

function describeDetails({ fd, address, port, path }: SystemErrorDetails): string {
  if (path !== undefined) return ` ${path}`;
  if (address !== undefined) return port === undefined ? ` ${address}` : ` ${address}:${port}`;
  return fd === undefined ? '' : `, fd ${fd}`;
}

/** True for an error that carries this `code`, whoever raised it. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === code;
}

/** A TypeError that names the option, what was expected, and the value: `"port" must be a number. Received '80'`. */
export function typeError(name: string, expected: string, value: unknown): TypeError {
  return Object.assign(new TypeError(refusal(name, expected, value)), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** A RangeError of the same form, for a value of the right type that is out of bounds. */
export function rangeError(name: string, expected: string, value: unknown): RangeError {
  return Object.assign(new RangeError(refusal(name, expected, value)), { code: 'ERR_OUT_OF_RANGE' });
}

function refusal(name: string, expected: string, value: unknown): string {
  return `"${name}" must be ${expected}. Received ${inspect(value, { depth: 0, breakLength: Infinity })}`;
}
