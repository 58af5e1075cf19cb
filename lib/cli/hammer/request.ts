// The bytes of a request, as latin1 text: what does not change is put together once.
import type { RequestShape } from './plan.js';

export class RequestText {
  readonly #start: string;
  readonly #numberField: string | undefined;
  readonly #body: string;
  readonly #keeping: string;
  readonly #closing: string;

  constructor({ method, path, authority, headers, body, numberHeader }: RequestShape) {
    const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const fields = [`Host: ${authority}`, ...headers, ...length];
    this.#start = toLatin1(`${method} ${path} HTTP/1.1\r\n${fields.join('\r\n')}\r\n`);
    this.#numberField = numberHeader;
    this.#body = toLatin1(body ?? '');
    this.#keeping = `${this.#start}\r\n${this.#body}`;
    this.#closing = `${this.#start}Connection: close\r\n\r\n${this.#body}`;
  }

  of({ number, closes }: { readonly number: number; readonly closes: boolean }): string {
    if (this.#numberField === undefined) return closes ? this.#closing : this.#keeping;
    const close = closes ? 'Connection: close\r\n' : '';
    return `${this.#start}${this.#numberField}: ${number}\r\n${close}\r\n${this.#body}`;
  }
}

/** UTF-8 as the latin1 text of its bytes. */
function toLatin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
