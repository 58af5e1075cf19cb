// Random lives of a connection: requests, the places where the stream of their bytes is cut, and whether the client has
// said its last word before it has heard everything. Played against a port, they give what was answered.
import fc from 'fast-check';
import type { Response, Wire } from './wire.js';

interface Request {
  readonly bytes: Buffer;
  /** What the app answers. */
  readonly answer: Buffer;
}

/** One connection's life. */
export interface Script {
  readonly requests: readonly Request[];
  readonly pieces: readonly Buffer[];
  /** Whether it waits for what it asked for before it begins the next request. */
  readonly isPatient: boolean;
  /** Whether it ends its direction after its last byte, and the server then the connection. */
  readonly isHalfClosed: boolean;
}

const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const path = fc.stringMatching(/^\/x[a-z0-9]{0,20}$/);

const request: fc.Arbitrary<Request> = fc.oneof(
  path.map((url) => made('GET', url, '', Buffer.alloc(0), Buffer.alloc(0))),
  fc.tuple(path, body).map(([url, body]) => made('POST', url, `Content-Length: ${body.length}\r\n`, body, body)),
  fc.tuple(path, fc.array(body, { maxLength: 4 })).map(([url, chunks]) => {
    const filled = chunks.filter(({ length }) => length > 0);
    const parts = filled.map((chunk) =>
      Buffer.concat([latin1(`${chunk.length.toString(16)}\r\n`), chunk, latin1('\r\n')]),
    );
    const sent = Buffer.concat([...parts, latin1('0\r\n\r\n')]);
    return made('PUT', url, 'Transfer-Encoding: chunked\r\n', sent, Buffer.concat(filled));
  }),
);

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function made(method: string, url: string, headers: string, sent: Buffer, body: Buffer): Request {
  const head = latin1(`${method} ${url} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  return { bytes: Buffer.concat([head, sent]), answer: Buffer.concat([latin1(`${method} ${url} `), body]) };
}

/** Sizes of pieces, taken in turn, again and again. */
export const anySizes: fc.Arbitrary<number[]> = fc.oneof(
  fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }),
  fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 20 }),
);
export const singleBytes: fc.Arbitrary<number[]> = fc.constant([1]);

/** `halfCloses`: some of them end their direction. */
export function scriptOf(
  sizes: fc.Arbitrary<number[]>,
  { maxRequests = 12, halfCloses = false }: { readonly maxRequests?: number; readonly halfCloses?: boolean } = {},
): fc.Arbitrary<Script> {
  return fc
    .record({
      requests: fc.array(request, { minLength: 1, maxLength: maxRequests }),
      sizes,
      isPatient: fc.boolean(),
      isHalfClosed: halfCloses ? fc.boolean() : fc.constant(false),
    })
    .map(({ requests, sizes, isPatient, isHalfClosed }) => {
      return { requests, pieces: cut(requests, sizes, isPatient), isPatient, isHalfClosed };
    });
}

/** A patient client's pieces end with each request. */
function cut(requests: readonly Request[], sizes: readonly number[], isPatient: boolean): Buffer[] {
  const streams = isPatient ? requests.map(({ bytes }) => bytes) : [Buffer.concat(requests.map(({ bytes }) => bytes))];
  let turn = 0;
  return streams.flatMap((stream) => {
    const pieces: Buffer[] = [];
    for (let at = 0; at < stream.length; ) {
      const size = sizes[turn++ % sizes.length] ?? 1;
      pieces.push(stream.subarray(at, at + size));
      at += size;
    }
    return pieces;
  });
}

/** Sends all of it and reads every answer; `onProgress` is told of each piece. */
export async function play(client: Wire, script: Script, onProgress: () => void): Promise<Response[]> {
  const { requests, pieces, isPatient, isHalfClosed } = script;
  const responses: Response[] = [];
  const ends = new Set<number>();
  let total = 0;
  for (const { bytes } of requests) {
    total += bytes.length;
    ends.add(total);
  }
  let sent = 0;
  for (const piece of pieces) {
    // One after another: two writes in a row may leave as one segment.
    await new Promise<void>((resolve) => client.socket.write(piece, () => resolve()));
    sent += piece.length;
    onProgress();
    if (isPatient && ends.has(sent)) responses.push(await client.response());
  }
  if (isHalfClosed) client.socket.end();
  while (responses.length < requests.length) responses.push(await client.response());
  if (isHalfClosed) await client.ended();
  return responses;
}
