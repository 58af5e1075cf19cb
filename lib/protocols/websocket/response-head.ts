// The head of the response to an upgrade, with what was negotiated, so that the answer to a replay can be compared with it.

/** The negotiated values; headers as they were sent, their parts separated by one comma. */
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
/** Node's limit for the head of a request; a longer head is no answer to an upgrade. */
const MAX_HEAD_BYTES = 16 * 1024;

/**
 * Parses a head that may come in pieces. `length`: bytes of the head; undefined: the head is not whole yet.
 * @throws Error the bytes are no head of a response
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

/**
 * Whether a client that got the one response can go on with the other. `Sec-WebSocket-Accept` is not compared, because it
 * follows from the client's key.
 */
export function isSamePromise(one: ResponseHead, other: ResponseHead): boolean {
  const isAlike = one.status === other.status && one.upgrade === other.upgrade;
  return isAlike && one.extensions === other.extensions && one.subprotocol === other.subprotocol;
}

/**
 * Whether another process can continue between two messages: there is no extension, or deflate without context takeover in
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
