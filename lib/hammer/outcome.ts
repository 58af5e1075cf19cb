// Decides the outcome of each request: the only place that names a loss.
import { createHash } from 'node:crypto';
import type { ResponseReader } from './response.js';

/** Every way to lose a request, with its meaning; the order of the result. */
export const LOSS_KINDS = {
  refused: 'no connection could be made, or not within the connect timeout',
  resetBeforeWrite: 'the connection was reset before the request was written',
  resetAfterWrite: 'the connection was reset after the request was written and before the answer was whole',
  earlyClose: 'the connection was closed, or broken, before the head of the answer was whole',
  short: 'the body is shorter than promised or expected',
  wrongBody: 'the answer is not the expected one, is not HTTP, or belongs to no request',
  unanswered: 'the connection was accepted, and no whole answer came before the deadline',
  status: 'the status is not an expected one',
} as const;

/** The meaning of `notSent`. It counts apart from the losses, because the server had no request to answer. */
export const NOT_SENT = 'the request was due, and had not begun when the run was given up';

export type LossKind = keyof typeof LOSS_KINDS;

export interface Loss {
  readonly kind: LossKind;
  /** Description for people. */
  readonly detail: string;
}

/** The properties of an expected answer. */
export interface Expectation {
  /** Inclusive ranges. */
  readonly statuses: readonly (readonly [number, number])[];
  readonly length?: number;
  readonly sha256?: string;
  readonly text?: string;
  /** Source of a regular expression. */
  readonly pattern?: string;
  /** Every body must equal the first one. */
  readonly same?: boolean;
}

/** Checks whole answers against an expectation. */
export class Judge {
  readonly #expected: Expectation;
  readonly #pattern: RegExp | undefined;
  readonly #text: Buffer | undefined;
  #first: Buffer | undefined;

  constructor(expected: Expectation) {
    this.#expected = expected;
    this.#pattern = expected.pattern === undefined ? undefined : new RegExp(expected.pattern);
    this.#text = expected.text === undefined ? undefined : Buffer.from(expected.text);
  }

  /** Whether the check needs the body. */
  get needsBody(): boolean {
    const { sha256, text, pattern, same } = this.#expected;
    return sha256 !== undefined || text !== undefined || pattern !== undefined || same === true;
  }

  /** The loss by a complete or malformed answer; undefined where it is as expected. */
  answer(reader: ResponseReader): Loss | undefined {
    const { status } = reader.head;
    // The status first: an error's body is never the expected one.
    if (status !== 0 && !this.#expected.statuses.some(([from, to]) => from <= status && status <= to)) {
      return { kind: 'status', detail: `status ${status}` };
    }
    if (reader.state === 'malformed') return { kind: 'wrongBody', detail: `malformed: ${reader.complaint}` };
    const wanted = this.#expected.length ?? this.#text?.length;
    if (wanted !== undefined && reader.bodyBytes !== wanted) {
      const kind = reader.bodyBytes < wanted ? 'short' : 'wrongBody';
      return { kind, detail: `${reader.bodyBytes} bytes of body instead of ${wanted}` };
    }
    return this.needsBody ? this.body(reader.body()) : undefined;
  }

  /** The loss by a whole body, or by a WebSocket message. */
  body(body: Buffer): Loss | undefined {
    const { sha256, same } = this.#expected;
    if (this.#text !== undefined && !this.#text.equals(body)) return wrong('the body is not the expected one');
    if (sha256 !== undefined && createHash('sha256').update(body).digest('hex') !== sha256) {
      return wrong('sha-256 of the body differs');
    }
    if (this.#pattern !== undefined && !this.#pattern.test(body.toString())) return wrong('the body does not match');
    if (same !== true) return undefined;
    this.#first ??= body;
    if (this.#first.equals(body)) return undefined;
    return body.length < this.#first.length
      ? { kind: 'short', detail: `${body.length} bytes of body, the first answer had ${this.#first.length}` }
      : wrong('the body is not that of the first answer');
  }
}

function wrong(detail: string): Loss {
  return { kind: 'wrongBody', detail };
}

/** How a connection ended without the client closing it. */
export type End = { readonly by: 'fin' } | { readonly by: 'error'; readonly error: NodeJS.ErrnoException };

/** Progress of a request when its connection ended. */
export interface Progress {
  /** `connecting`: TCP; `securing`: the TLS handshake. */
  readonly phase: 'connecting' | 'securing' | 'open';
  readonly isWritten: boolean;
}

/** Names the loss of a request whose connection ended before the answer. */
export function judgeEnd(end: End, { phase, isWritten }: Progress, reader: ResponseReader): Loss {
  const progress = `after ${reader.receivedBytes} bytes`;
  if (end.by === 'fin') return judgeCut(reader, 'closed', progress);
  const { code = '', message, syscall } = end.error;
  if (code === 'ETIMEDOUT' && phase !== 'connecting') return { kind: 'unanswered', detail: code };
  if (!isReset(end.error)) {
    // An open connection was not refused: a later error (bytes that are no TLS, an alert) cuts the answer.
    return phase === 'open'
      ? judgeCut(reader, code || message, progress)
      : { kind: 'refused', detail: code || message };
  }
  // Node gives a FIN during the handshake the code of a reset, but then no system call failed (_tls_wrap.js).
  if (phase === 'securing' && syscall === undefined)
    return { kind: 'earlyClose', detail: 'closed in the TLS handshake' };
  return { kind: isWritten ? 'resetAfterWrite' : 'resetBeforeWrite', detail: `${code} ${progress}` };
}

function judgeCut(reader: ResponseReader, how: string, progress: string): Loss {
  if (reader.state === 'head') return { kind: 'earlyClose', detail: `${how} ${progress}` };
  const promised = reader.head.length === undefined ? '' : ` of ${reader.head.length}`;
  return { kind: 'short', detail: `${how} after ${reader.bodyBytes}${promised} bytes of the body` };
}

/** Whether the peer has sent a RST. EPIPE: a write came after it. */
export function isReset({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE';
}

/** Whether the error is of the client's machine: no request was made, so none was lost. */
export function isOwnFault({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EADDRNOTAVAIL' || code === 'EMFILE' || code === 'ENFILE' || code === 'ENOBUFS' || code === 'ENOMEM';
}
