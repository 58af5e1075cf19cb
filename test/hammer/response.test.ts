// The reader of responses: what it finds does not depend on how the bytes are cut.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HeadCache, ResponseReader } from '../../lib/hammer/response.js';

interface Found {
  readonly state: string;
  readonly status: number;
  readonly body: string;
  readonly used: number;
}

/** Reads `text` cut at `cuts`, and a FIN if `closes`. */
function read(text: string, { cuts = [] as readonly number[], isHead = false, closes = false } = {}): Found {
  const reader = new ResponseReader(new HeadCache(), isHead, true);
  const bytes = Buffer.from(text, 'latin1');
  const edges = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  let used = 0;
  for (const [i, from] of edges.entries()) {
    // A buffer that is overwritten afterwards, as the one of the sockets is.
    const piece = Buffer.from(bytes.subarray(from, edges[i + 1] ?? bytes.length));
    if (!reader.isOver) used += reader.read(piece, 0);
    piece.fill(0);
  }
  if (closes) reader.end();
  return { state: reader.state, status: reader.head.status, body: reader.body().toString('latin1'), used };
}

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

type Sample = [name: string, text: string, found: Partial<Found>, options?: { isHead?: boolean; closes?: boolean }];

const SAMPLES: Sample[] = [
  ['Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', { state: 'complete', body: 'hello' }],
  [
    'more than promised',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello',
    { state: 'complete', body: 'he', used: 40 },
  ],
  ['no body', 'HTTP/1.1 200\r\ncontent-length:0\r\n\r\n', { state: 'complete', status: 200 }],
  ['a body cut short', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello', { state: 'length' }, { closes: true }],
  ['chunks', `${CHUNKED}3\r\nhel\r\n2;a="b"\r\nlo\r\n0\r\nX: 1\r\n\r\nnext`, { state: 'complete', body: 'hello' }],
  ['a last chunk without its end', `${CHUNKED}3\r\nhel\r\n0\r\n`, { state: 'trailers' }, { closes: true }],
  ['until close', 'HTTP/1.1 200 OK\r\n\r\nhello', { state: 'complete', body: 'hello' }, { closes: true }],
  ['until close, open', 'HTTP/1.1 200 OK\r\n\r\nhello', { state: 'untilClose', body: 'hello' }],
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', { state: 'complete', body: '' }, { isHead: true }],
  ['HEAD, chunked', CHUNKED, { state: 'complete', body: '' }, { isHead: true }],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', { state: 'complete', status: 204 }],
  ['304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', { state: 'complete', status: 304 }],
  [
    '1xx first',
    'HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
    { state: 'complete', status: 204 },
  ],
  ['101', 'HTTP/1.1 101 Switching Protocols\r\n\r\nframes', { state: 'complete', status: 101, body: '' }],
  ['no HTTP', 'SSH-2.0-OpenSSH', { state: 'malformed' }],
  ['HTTP/2', 'HTTP/2 200\r\n\r\n', { state: 'malformed' }],
  ['a bad field', 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n', { state: 'malformed' }],
  ['a folded field', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n', { state: 'malformed' }],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', { state: 'malformed' }],
  [
    'a length and chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    { state: 'malformed' },
  ],
  ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', { state: 'malformed' }],
  ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n', { state: 'malformed' }],
  ['a bad chunk size', `${CHUNKED}-1\r\n`, { state: 'malformed' }],
  ['a chunk that is too long', `${CHUNKED}2\r\nabc\r\n0\r\n\r\n`, { state: 'malformed' }],
  ['an endless chunk line', `${CHUNKED}${'0'.repeat(9_000)}`, { state: 'malformed' }],
  ['an endless head', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(12_000)}`, { state: 'malformed' }],
];

const RESPONSES = SAMPLES.map(([name, text, found, options = {}]) => ({ name, text, found, options }));

describe('a response', () => {
  it.each(RESPONSES)('with $name', ({ text, found, options }) => {
    expect(read(text, options)).toMatchObject(found);
  });

  it.each(RESPONSES.filter(({ text }) => text.length < 1_000))('with $name, however it is cut', ({ text, options }) => {
    const { state, status, body, used } = read(text, options);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
        const found = read(text, { ...options, cuts });
        expect(found).toMatchObject({ state, status, body });
        if (state === 'complete') expect(found.used).toBe(used);
      }),
      { numRuns: 100 },
    );
  });

  it('follows another on the same connection', () => {
    const reader = new ResponseReader(new HeadCache(), false, true);
    const one = 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n';
    const bytes = Buffer.from(`${one}a${one}bHTTP/1.1 204 No Content\r\n\r\n`);
    let at = 0;
    const seen: string[] = [];
    while (at < bytes.length) {
      at = reader.read(bytes, at);
      seen.push(`${reader.head.status} ${reader.body()}`);
      reader.reset();
    }
    expect(seen).toEqual(['200 a', '200 b', '204 ']);
  });
});
