// A raw HTTP/1.1 client of which every byte counts: what comes is one whole response after another and nothing else, and
// the end of the connection is told in a word.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { ByteClient } from './byte-client.js';

export interface Response {
  readonly status: number;
  /** The status line and every header but Date and X-Pid. */
  readonly head: readonly string[];
  readonly body: Buffer;
  /** The process that answered. */
  readonly pid: number;
}

const HEAD_END = '\r\n\r\n';

export class Wire extends ByteClient {
  #received: Buffer[] = [];
  #length = 0;

  constructor(port: number) {
    super({ port, host: '127.0.0.1' }, (bytes) => {
      this.#received.push(bytes);
      this.#length += bytes.length;
    });
  }

  /** Bytes that came and were asked for by nobody. */
  get pending(): number {
    return this.#length;
  }

  get localPort(): number {
    return (this.socket.address() as AddressInfo).port;
  }

  async connected(): Promise<this> {
    if (this.socket.connecting) await once(this.socket, 'connect');
    return this;
  }

  get(path: string, headers = ''): this {
    return this.send(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  }

  /** Sends a request and reads its response. */
  async ask(path: string, headers = ''): Promise<Response> {
    return this.get(path, headers).response();
  }

  /** The next response, whole. @throws Error the connection ended, or nothing came in 10 s */
  async response(): Promise<Response> {
    let wanted = 0;
    const found = await this.#until(() => {
      if (this.#length < wanted) return undefined;
      const bytes = this.#bytes();
      const parsed = parse(bytes);
      // A large body is not copied for each of its pieces.
      if (typeof parsed !== 'number') return parsed;
      wanted = parsed;
      return undefined;
    });
    const rest = this.#bytes().subarray(found.length);
    this.#received = [rest];
    this.#length = rest.length;
    return found.response;
  }

  /** The head of an answer without a body: `100 Continue`, `101 Switching Protocols`, the 200 of a CONNECT. */
  async head(): Promise<string> {
    const end = await this.#until(() => {
      const at = this.#bytes().indexOf(HEAD_END);
      return at === -1 ? undefined : at + HEAD_END.length;
    });
    return this.take(end);
  }

  /** The next so many bytes. */
  async take(count: number): Promise<string> {
    const bytes = await this.#until(() => (this.#length >= count ? this.#bytes() : undefined));
    this.#received = [bytes.subarray(count)];
    this.#length -= count;
    return bytes.toString('latin1', 0, count);
  }

  #bytes(): Buffer {
    const bytes = Buffer.concat(this.#received);
    this.#received = [bytes];
    return bytes;
  }

  #until<T>(look: () => T | undefined): Promise<T> {
    return this.until(look, () => `${this.#length} bytes of an answer`);
  }
}

/** The first response in these bytes, whose body must have a Content-Length; how many bytes it takes where it is not whole. */
function parse(bytes: Buffer): { readonly response: Response; readonly length: number } | number {
  const end = bytes.indexOf(HEAD_END);
  if (end === -1) return bytes.length + 1;
  const lines = bytes.toString('latin1', 0, end).split('\r\n');
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(lines[0] ?? '') ?? [];
  const header = (name: string): string | undefined =>
    lines.find((line) => line.toLowerCase().startsWith(`${name}: `))?.slice(name.length + 2);
  const size = Number(header('content-length'));
  if (status === undefined || !(size >= 0)) throw new Error(`no response: ${JSON.stringify(lines)}`);
  const from = end + HEAD_END.length;
  if (bytes.length < from + size) return from + size;
  const response = {
    status: Number(status),
    head: lines.filter((line) => !/^(date|x-pid): /i.test(line)),
    body: bytes.subarray(from, from + size),
    pid: Number(header('x-pid')),
  };
  return { response, length: from + size };
}
