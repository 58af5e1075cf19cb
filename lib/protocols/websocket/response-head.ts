// The head of the response to an upgrade: what was agreed on, so that a second one can be compared with the first.

/** What a client was promised; header values as they were sent, parts separated by one comma. */
export interface ResponseHead {
  readonly status: number;
  /** The protocol switched to, in lower case. */
  readonly upgrade: string;
  /** `Sec-WebSocket-Extensions`. */
  readonly extensions: string;
  /** `Sec-WebSocket-Protocol`. */
  readonly subprotocol: string;
}

const HEAD_END = '\r\n\r\n';
/** As much as Node allows a request; what is longer is no answer to an upgrade. */
const MAX_HEAD_BYTES = 16 * 1024;

/**
 * Reads a head that may come in pieces. `length`: how many of these bytes it takes; undefined: it is not whole yet.
 * @throws Error it is none
 */
export function parseResponseHead(
  bytes: Uint8Array,
): { readonly head: ResponseHead; readonly length: number } | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_HEAD_BYTES)).toString('latin1');
  const end = text.indexOf(HEAD_END);
  if (end === -1) {
    if (bytes.length >= MAX_HEAD_BYTES) throw new Error('the head of the response does not end');
    return undefined;
  }
  const [first = '', ...lines] = text.slice(0, end).split('\r\n');
  const status = /^HTTP\/1\.[01] (\d{3})\b/.exec(first)?.[1];
  if (status === undefined) throw new Error(`no status line: ${JSON.stringify(first)}`);
  const header = (name: string): string => valuesOf(lines, name).join(',');
  const head = {
    status: Number(status),
    upgrade: header('upgrade').toLowerCase(),
    extensions: header('sec-websocket-extensions'),
    subprotocol: header('sec-websocket-protocol'),
  };
  return { head, length: end + HEAD_END.length };
}

function valuesOf(lines: readonly string[], name: string): string[] {
  return lines.flatMap((line) => {
    const colon = line.indexOf(':');
    if (line.slice(0, colon).trim().toLowerCase() !== name) return [];
    return line
      .slice(colon + 1)
      .split(',')
      .map((part) => part.replaceAll(/\s+/g, ''));
  });
}

/** Whether a client that was promised the one can go on with the other. `Sec-WebSocket-Accept` follows from its key. */
export function isSamePromise(one: ResponseHead, other: ResponseHead): boolean {
  const isAlike = one.status === other.status && one.upgrade === other.upgrade;
  return isAlike && one.extensions === other.extensions && one.subprotocol === other.subprotocol;
}

/**
 * Whether another process can go on between two messages: no extension, or deflate that begins anew with each message in
 * both directions (RFC 7692 §7.1.1).
 */
export function isStateless({ extensions }: ResponseHead): boolean {
  if (extensions === '') return true;
  const [name, ...parameters] = extensions.split(';');
  const isDeflate = name === 'permessage-deflate' && !extensions.includes(',');
  return (
    isDeflate && ['server_no_context_takeover', 'client_no_context_takeover'].every((one) => parameters.includes(one))
  );
}
