// The errors of the package: of the operating system, of a failed handover, and of a caller's mistake.
import { getSystemErrorMap, inspect } from 'node:util';
import type { Phase } from './events.js';

/** An error of the operating system, in the shape of Node's own. */
export interface SystemError extends Error {
  /** Negative errno. */
  errno: number;
  code: string;
  syscall: string;
  fd?: number;
  address?: string;
  port?: number;
  path?: string;
  /** With ENOBUFS of recvmsg(2): the bytes that came with the lost descriptors. */
  bytes?: Buffer;
}

/** The subject of the failed call; each member is copied onto the error. */
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

/** Whether the value is an error with this `code`. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === code;
}

/** The thrown error, or an error with the text of another thrown value. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
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

/** Every way a handover or a managed server can fail. A code is never reused; docs/errors.md has the operator's table. */
export const HANDOVER_ERROR_CODES = [
  'ERR_HANDOVER_UNSUPPORTED',
  'ERR_HANDOVER_WOULD_ORPHAN',
  'ERR_HANDOVER_COMMAND_NOT_FOUND',
  'ERR_HANDOVER_IN_PROGRESS',
  'ERR_HANDOVER_ALREADY_OPEN',
  'ERR_HANDOVER_NOT_READY',
  'ERR_HANDOVER_CLOSED',
  'ERR_HANDOVER_ADDRESS_IN_USE',
  'ERR_HANDOVER_UNCLAIMED',
  'ERR_HANDOVER_SPAWN_FAILED',
  'ERR_HANDOVER_SUCCESSOR_EXITED',
  'ERR_HANDOVER_TIMEOUT',
  'ERR_HANDOVER_PROBATION_FAILED',
  'ERR_HANDOVER_CHECK_FAILED',
  'ERR_HANDOVER_NO_MEMORY',
  'ERR_HANDOVER_TOO_MANY_DRAINING',
  'ERR_HANDOVER_TAKEOVER_REFUSED',
  'ERR_HANDOVER_TAKEOVER_UNSAFE',
  'ERR_HANDOVER_CONTROL_REFUSED',
  'ERR_HANDOVER_CONTROL_UNSAFE',
  'ERR_HANDOVER_UNSAFE_DIRECTORY',
  'ERR_HANDOVER_PID_FILE',
  'ERR_HANDOVER_ACTIVATION',
  'ERR_HANDOVER_VERSION',
  'ERR_HANDOVER_PROTOCOL',
  'ERR_HANDOVER_PEER_LOST',
  'ERR_HANDOVER_ABORTED',
  'ERR_HANDOVER_CANCELLED',
  'ERR_HANDOVER_ANOTHER_IN_CHARGE',
  'ERR_HANDOVER_DESCRIPTORS',
  'ERR_HANDOVER_CERTIFICATE',
  'ERR_HANDOVER_SUPERVISOR_REFUSED',
  'ERR_HANDOVER_UNKNOWN_COMMAND',
  'ERR_HANDOVER_INTERNAL',
] as const;

export type HandoverErrorCode = (typeof HANDOVER_ERROR_CODES)[number];

/** The code that another process sent, if this version knows it. */
export function knownCode(code: string | undefined): HandoverErrorCode | undefined {
  return HANDOVER_ERROR_CODES.find((known) => known === code);
}

/** The members of a {@link HandoverError} beside its code and message. */
export interface HandoverErrorDetails {
  readonly phase?: Phase | undefined;
  /** Required, without a default: the code that makes an error must know whether its process still accepts and answers. */
  readonly stillServing: boolean;
  readonly cause?: unknown;
  readonly exitCode?: number | null | undefined;
  readonly exitSignal?: string | null | undefined;
  readonly stderr?: string | undefined;
  readonly connectionsLost?: number | undefined;
}

const BRAND: unique symbol = Symbol.for('handover.error') as never;

/** A handover failed, or could not begin. `instanceof` holds across two copies of the package. */
export class HandoverError extends Error {
  override readonly name = 'HandoverError';
  readonly code: HandoverErrorCode;
  /** The phase in which the handover failed; undefined if none had begun. */
  readonly phase: Phase | undefined;
  /** Whether the process that raised this still accepts and answers. */
  readonly stillServing: boolean;
  /** Exit code and signal of the successor, as `child_process` gives them; undefined if it has not ended. */
  readonly exitCode: number | null | undefined;
  readonly exitSignal: string | null | undefined;
  /** The last lines that the successor wrote to stderr before it was ready. */
  readonly stderr: string | undefined;
  /** Connections that the successor owned when it died or was stopped, by its last heartbeat. */
  readonly connectionsLost: number | undefined;

  constructor(code: HandoverErrorCode, message: string, details: HandoverErrorDetails) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    Object.defineProperty(this, BRAND, { value: true });
    this.code = code;
    this.phase = details.phase;
    this.stillServing = details.stillServing;
    this.exitCode = details.exitCode;
    this.exitSignal = details.exitSignal;
    this.stderr = details.stderr;
    this.connectionsLost = details.connectionsLost;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && BRAND in value;
  }
}
