// Parses HTTP/1.x responses strictly from raw bytes: a client library would forgive errors that must be counted here.

/** Many times the length of a head that servers accept from clients. */
const HEAD_LIMIT_BYTES = 65_536;
/** Limit for a chunk-size line with extensions, or a trailer. */
const LINE_LIMIT_BYTES = 8_192;
const END_OF_HEAD: Buffer = Buffer.from('\r\n\r\n');
const LF = 10;
const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: [^\r\n]*)?$/;
const FIELD = /^([!#$%&'*+\-.^_`|~\dA-Za-z]+):[ \t]*(.*?)[ \t]*$/;
const CHUNK_SIZE = /^([\da-f]{1,12})[ \t]*(?:;.*)?$/i;

type State =
  | 'head'
  | 'length'
  | 'chunkSize'
  | 'chunkData'
  | 'chunkEnd'
  | 'trailers'
  | 'untilClose'
  | 'complete'
  | 'malformed';

/** A parsed head. */
interface Head {
  readonly status: number;
  /** Fields by name in lower case; of several with one name the last. */
  readonly fields: ReadonlyMap<string, string>;
  readonly isChunked: boolean;
  readonly length: number | undefined;
  /** The server announces to close after this response, or does not promise to keep the connection (HTTP/1.0). */
  readonly closes: boolean;
}

const NO_HEAD: Head = { status: 0, fields: new Map(), isChunked: false, length: undefined, closes: false };

/** Reads the responses of one connection in turn; RFC 9112 §6.3 defines where each ends. */
export class ResponseReader {
  state: State = 'head';
  head: Head = NO_HEAD;
  /** Bytes received for this response so far, heads included. */
  receivedBytes = 0;
  bodyBytes = 0;
  /** Why the state is `malformed`. */
  complaint = '';

  readonly #isHead: boolean;
  readonly #keepsBody: boolean;
  readonly #heads: HeadCache;
  /** Missing bytes of the body, or of the chunk. */
  #missing = 0;
  /** The beginning of a head, or of a line, that arrived in pieces. */
  #partial: Buffer | undefined;
  #body: Buffer[] = [];

  /** `isHead`: the requests are HEAD. `keepsBody`: {@link body} will be needed. */
  constructor(heads: HeadCache, isHead: boolean, keepsBody: boolean) {
    this.#heads = heads;
    this.#isHead = isHead;
    this.#keepsBody = keepsBody;
  }

  /** Ready for the next response. */
  reset(): void {
    this.state = 'head';
    this.head = NO_HEAD;
    this.receivedBytes = 0;
    this.bodyBytes = 0;
    this.#partial = undefined;
    if (this.#keepsBody) this.#body = [];
  }

  get isOver(): boolean {
    return this.state === 'complete' || this.state === 'malformed';
  }

  body(): Buffer {
    return Buffer.concat(this.#body);
  }

  /** Reads bytes from `at` on. @returns the index of the first byte that is not of this response */
  read(bytes: Buffer, at: number): number {
    let position = at;
    while (position < bytes.length && !this.isOver) position = this.#step(bytes, position);
    this.receivedBytes += position - at;
    return position;
  }

  /** The server has closed the connection. @returns whether this completes the response */
  end(): boolean {
    if (this.state === 'untilClose') this.state = 'complete';
    return this.state === 'complete';
  }

  #step(bytes: Buffer, at: number): number {
    switch (this.state) {
      case 'head':
        return this.#readHead(bytes, at);
      case 'length':
        return this.#readData(bytes, at, 'complete');
      case 'chunkData':
        return this.#readData(bytes, at, 'chunkEnd');
      case 'untilClose':
        this.#take(bytes, at, bytes.length);
        return bytes.length;
      default:
        return this.#readLine(bytes, at);
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const before = this.#partial?.length ?? 0;
    const all = this.#partial === undefined ? bytes : Buffer.concat([this.#partial, bytes.subarray(at)]);
    const from = this.#partial === undefined ? at : 0;
    const end = all.indexOf(END_OF_HEAD, from);
    if (end === -1) {
      if (all.length - from > HEAD_LIMIT_BYTES) this.#reject(`no end of the head in ${all.length - from} bytes`);
      else if (!'HTTP/1.'.startsWith(all.toString('latin1', from, from + 7)))
        this.#reject('it does not begin like HTTP/1');
      // A copy: the bytes stand in a buffer that the next read of any connection overwrites.
      this.#partial = Buffer.from(all.subarray(from));
      return bytes.length;
    }
    this.#partial = undefined;
    const head = this.#heads.parse(all.toString('latin1', from, end));
    const next = end + END_OF_HEAD.length - from + at - before;
    if (typeof head === 'string') this.#reject(head);
    else this.#begin(head);
    return next;
  }

  #begin(head: Head): void {
    const { status } = head;
    // Another head follows 100 Continue and 103 Early Hints. No HTTP follows a 101.
    if (status < 200 && status !== 101) return;
    this.head = head;
    this.#missing = head.length ?? 0;
    if (this.#isHead || status === 101 || status === 204 || status === 304) this.state = 'complete';
    else if (head.isChunked) this.state = 'chunkSize';
    else if (head.length === undefined) this.state = 'untilClose';
    else this.state = head.length === 0 ? 'complete' : 'length';
  }

  #readData(bytes: Buffer, at: number, next: State): number {
    const end = Math.min(at + this.#missing, bytes.length);
    this.#take(bytes, at, end);
    this.#missing -= end - at;
    if (this.#missing === 0) this.state = next;
    return end;
  }

  #take(bytes: Buffer, at: number, end: number): void {
    this.bodyBytes += end - at;
    if (this.#keepsBody) this.#body.push(Buffer.from(bytes.subarray(at, end)));
  }

  #readLine(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(LF, at);
    const piece = bytes.subarray(at, lf === -1 ? bytes.length : lf + 1);
    const line = this.#partial === undefined ? piece : Buffer.concat([this.#partial, piece]);
    if (line.length > LINE_LIMIT_BYTES) this.#reject(`a line of more than ${LINE_LIMIT_BYTES} bytes between chunks`);
    this.#partial = lf === -1 ? Buffer.from(line) : undefined;
    if (lf === -1) return bytes.length;
    const text = line.toString('latin1');
    if (text.endsWith('\r\n')) this.#understand(text.slice(0, -2));
    else this.#reject('a bare LF between chunks');
    return lf + 1;
  }

  #understand(line: string): void {
    if (this.state === 'chunkSize') {
      const size = CHUNK_SIZE.exec(line)?.[1];
      if (size === undefined) {
        this.#reject(`chunk size ${JSON.stringify(line.slice(0, 80))}`);
        return;
      }
      this.#missing = Number.parseInt(size, 16);
      this.state = this.#missing === 0 ? 'trailers' : 'chunkData';
    } else if (this.state === 'chunkEnd') {
      if (line !== '') {
        this.#reject(`${JSON.stringify(line.slice(0, 80))} behind a chunk`);
        return;
      }
      this.state = 'chunkSize';
    } else if (line === '') {
      this.state = 'complete';
    } else if (!FIELD.test(line)) {
      this.#reject(`trailer ${JSON.stringify(line.slice(0, 80))}`);
    }
  }

  #reject(complaint: string): void {
    this.state = 'malformed';
    this.complaint = complaint;
  }
}

/** Parses heads, and caches the last one: a server repeats its head byte for byte until `Date` changes. */
export class HeadCache {
  #text = '';
  #head: Head | string = 'no head';

  /** The parsed head, or the reason why it is malformed. */
  parse(text: string): Head | string {
    if (text !== this.#text) {
      this.#head = parseHead(text);
      this.#text = text;
    }
    return this.#head;
  }
}

function parseHead(text: string): Head | string {
  const [statusLine = '', ...lines] = text.split('\r\n');
  const [, minor, status] = STATUS_LINE.exec(statusLine) ?? [];
  if (status === undefined) return `status line ${JSON.stringify(statusLine.slice(0, 80))}`;
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ''] = FIELD.exec(line) ?? [];
    if (name === undefined) return `header line ${JSON.stringify(line.slice(0, 80))}`;
    const known = name.toLowerCase();
    if (known === 'content-length' && fields.has(known)) return 'two Content-Length headers';
    fields.set(known, value);
  }
  const length = fields.get('content-length');
  if (length !== undefined && !/^\d{1,15}$/.test(length)) return `Content-Length ${JSON.stringify(length)}`;
  const coding = fields.get('transfer-encoding');
  const isChunked = coding?.toLowerCase() === 'chunked';
  if (coding !== undefined && !isChunked) return `Transfer-Encoding ${JSON.stringify(coding)}`;
  if (isChunked && length !== undefined) return 'both Transfer-Encoding and Content-Length';
  const connection = fields.get('connection') ?? '';
  const closes = /\bclose\b/i.test(connection) || (minor === '0' && !/\bkeep-alive\b/i.test(connection));
  return {
    status: Number(status),
    fields,
    isChunked,
    length: length === undefined ? undefined : Number(length),
    closes,
  };
}
