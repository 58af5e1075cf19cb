// What app.mjs must answer, stated a second time, independently, to check it against.

import { createHash } from 'node:crypto';

const numberedLines = Array.from({ length: 131_072 }, (_, line) => `${String(line).padStart(7, '0')}\n`).join('');

/** The weights make long requests common enough that some straddle every switch, and rare enough to leave room for the fast. */
export const routes = [
  route('/', 'hello\n', 97.5),
  route('/slow', 'hello, after 300 ms\n', 1),
  route('/big', numberedLines, 1.5),
];

function route(path, body, weight) {
  const bytes = Buffer.from(body);
  return { path, weight, status: 200, length: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
