// The bytes of a request, as latin1 text; the constant parts are built once.
import type { RequestShape } from './plan.js';

export class RequestText {
  /** The user's own Connection field says that each connection serves one request. */
  readonly closes: boolean;
  readonly #start: string;
  /** Empty where the user gives a Connection field: a server should get each field once. */
  readonly #closeField: string;
  readonly #numberField: string | undefined;
  readonly #body: string;
  readonly #keeping: string;
  readonly #closing: string;

  constructor({ method, path, authority, headers, body, numberHeader }: RequestShape) {
    const given = (name: string): string | undefined => headers.find((header) => isNamed(header, name));
    const host = given('host') === undefined ? [`Host: ${authority}`] : [];
    const isMeasured = body !== undefined && given('content-length') === undefined;
    const length = isMeasured ? [`Content-Length: ${Buffer.byteLength(body)}`] : [];
    const fields = [...host, ...headers, ...length];
    const connection = given('connection');
    this.closes = /\bclose\b/i.test(connection ?? '');
    this.#closeField = connection === undefined ? 'Connection: close\r\n' : '';
    this.#start = toLatin1(`${method} ${path} HTTP/1.1\r\n${fields.join('\r\n')}\r\n`);
    this.#numberField = numberHeader;
    this.#body = toLatin1(body ?? '');
    this.#keeping = `${this.#start}\r\n${this.#body}`;
    this.#closing = `${this.#start}${this.#closeField}\r\n${this.#body}`;
  }

  of({ number, closes }: { readonly number: number; readonly closes: boolean }): string {
    if (this.#numberField === undefined) return closes ? this.#closing : this.#keeping;
    const close = closes ? this.#closeField : '';
    return `${this.#start}${this.#numberField}: ${number}\r\n${close}\r\n${this.#body}`;
  }
}

/** Whether a `name: value` has this name. */
export function isNamed(header: string, name: string): boolean {
  return header.slice(0, header.indexOf(':')).toLowerCase() === name;
}

/** UTF-8 as the latin1 text of its bytes. */
function toLatin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
