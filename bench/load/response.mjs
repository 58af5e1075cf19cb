// Reads one HTTP/1.1 response out of raw bytes, exactly: a client library would forgive what must be counted here.

import { createHash } from 'node:crypto';

const headLimitBytes = 16_384;
const endOfHead = Buffer.from('\r\n\r\n');

export class ResponseReader {
  /** @type {'head' | 'body' | 'complete' | 'malformed'} */
  state = 'head';
  status = 0;
  /** @type {Map<string, string>} Names in lower case. */
  headers = new Map();
  /** What Content-Length promised. */
  length = 0;
  /** Everything received so far, head included. */
  receivedBytes = 0;
  bodyBytes = 0;
  /** Bytes after the end of the body: nobody asked for them. */
  surplusBytes = 0;
  /** Why the state is `malformed`. */
  complaint = '';

  #head = Buffer.alloc(0);
  #hash = createHash('sha256');

  /** @param {Buffer} chunk */
  push(chunk) {
    this.receivedBytes += chunk.length;
    if (this.state === 'complete') this.surplusBytes += chunk.length;
    else if (this.state === 'body') this.#pushBody(chunk);
    else if (this.state === 'head') this.#pushHead(chunk);
  }

  /** The body's sha-256 in hex; to be asked for once, of a complete response. */
  digest() {
    return this.#hash.digest('hex');
  }

  get announcesClose() {
    return /\bclose\b/i.test(this.headers.get('connection') ?? '');
  }

  #pushHead(chunk) {
    this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    const end = this.#head.indexOf(endOfHead);
    if (end === -1) {
      if (this.#head.length > headLimitBytes) this.#reject(`no end of the head in ${this.#head.length} bytes`);
      return;
    }
    this.#parse(this.#head.latin1Slice(0, end));
    if (this.state === 'malformed') return;
    const rest = this.#head.subarray(end + endOfHead.length);
    this.#head = Buffer.alloc(0);
    this.state = 'body';
    this.#pushBody(rest);
  }

  #pushBody(chunk) {
    const missing = this.length - this.bodyBytes;
    const body = chunk.length > missing ? chunk.subarray(0, missing) : chunk;
    this.#hash.update(body);
    this.bodyBytes += body.length;
    if (this.bodyBytes < this.length) return;
    this.state = 'complete';
    this.surplusBytes = chunk.length - body.length;
  }

  #parse(head) {
    const [statusLine, ...fields] = head.split('\r\n');
    const status = /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(statusLine);
    if (status === null) return this.#reject(`status line ${JSON.stringify(statusLine.slice(0, 80))}`);
    this.status = Number(status[1]);
    for (const field of fields) {
      const colon = field.indexOf(':');
      if (colon < 1) return this.#reject(`header line ${JSON.stringify(field.slice(0, 80))}`);
      const name = field.slice(0, colon).toLowerCase();
      if (name === 'content-length' && this.headers.has(name)) return this.#reject('two Content-Length headers');
      this.headers.set(name, field.slice(colon + 1).trim());
    }
    const length = this.headers.get('content-length') ?? '';
    if (!/^\d{1,15}$/.test(length)) return this.#reject('no usable Content-Length');
    this.length = Number(length);
  }

  #reject(complaint) {
    this.state = 'malformed';
    this.complaint = complaint;
  }
}
