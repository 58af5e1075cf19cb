// One client connection on a raw socket: one request at a time, every end of it told apart.

import net from 'node:net';
import { judgeDeadline, judgeEnd, judgeResponse } from './classify.mjs';
import { ResponseReader } from './response.mjs';

/**
 * @typedef {{ host: string, port: number, deadline: number }} Target `deadline`: milliseconds for one request, connecting included.
 * @typedef {{ opened(): void, closedByServer(): void, unasked(failure: import('./classify.mjs').Failure): void }} Observer
 * @typedef {{ failure?: import('./classify.mjs').Failure, headers: Map<string, string> }} Outcome
 */

export class Connection {
  #target;
  #observer;
  /** @type {net.Socket | undefined} */
  #socket;
  #connected = false;
  /** The request in flight: `settle` ends it exactly once. */
  #exchange;

  /**
   * @param {Target} target
   * @param {Observer} observer
   */
  constructor(target, observer) {
    this.#target = target;
    this.#observer = observer;
  }

  /**
   * Sends one request, on a new socket if there is none, and resolves with what became of it. Never rejects, never retries.
   * @param {import('./classify.mjs').Expected} expected
   * @param {{ announceClose?: boolean }} [options] `announceClose`: say `Connection: close`.
   * @returns {Promise<Outcome>}
   */
  request(expected, { announceClose = false } = {}) {
    if (this.#exchange !== undefined) throw new Error('a request is in flight on this connection');
    return new Promise((resolve) => {
      const reader = new ResponseReader();
      const timer = setTimeout(() => this.#fail(judgeDeadline(reader, this.#target.deadline)), this.#target.deadline);
      const settle = (failure) => {
        clearTimeout(timer);
        this.#exchange = undefined;
        resolve({ failure, headers: reader.headers });
      };
      this.#exchange = { expected, reader, announceClose, settle };
      this.#socket ??= this.#connect();
      const { host, port } = this.#target;
      const close = announceClose ? 'Connection: close\r\n' : '';
      this.#socket.write(`GET ${expected.path} HTTP/1.1\r\nHost: ${host}:${port}\r\n${close}\r\n`, 'latin1');
    });
  }

  /** Closes from this side. */
  close() {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#connected = false;
    socket?.destroy();
  }

  #connect() {
    const socket = net.connect({
      host: this.#target.host,
      port: this.#target.port,
      noDelay: true,
      allowHalfOpen: true,
    });
    const current = (act) => (value) => {
      if (this.#socket === socket) act(value);
    };
    socket.on(
      'connect',
      current(() => {
        this.#connected = true;
        this.#observer.opened();
      }),
    );
    socket.on(
      'data',
      current((chunk) => this.#data(chunk)),
    );
    socket.on(
      'end',
      current(() => this.#ended(wasReset(socket) ? resetBehindData : undefined)),
    );
    socket.on(
      'error',
      current((error) => this.#ended(error)),
    );
    return socket;
  }

  #data(chunk) {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.close();
      this.#observer.unasked({ kind: 'unasked', detail: `${chunk.length} bytes between two requests` });
      return;
    }
    const { reader, expected, announceClose, settle } = exchange;
    reader.push(chunk);
    if (reader.state !== 'complete' && reader.state !== 'malformed') return;
    const failure = judgeResponse(reader, expected);
    if (failure !== undefined) return this.#fail(failure);
    if (reader.announcesClose) {
      this.close();
      if (!announceClose) this.#observer.closedByServer();
    }
    settle(undefined);
  }

  #ended(error) {
    const exchange = this.#exchange;
    if (exchange !== undefined) return this.#fail(judgeEnd(exchange.reader, this.#connected, error));
    this.close();
    this.#observer.closedByServer();
  }

  #fail(failure) {
    this.close();
    this.#exchange.settle(failure);
  }
}

const resetBehindData = Object.assign(new Error('reset'), { code: 'ECONNRESET' });

/**
 * Tells a reset from a FIN at 'end': libuv reports a reset that arrives together with data as an end (uv__stream_io, POLLHUP after
 * a partial read). getpeername(2) knows: it fails on a reset connection, and not on one whose peer has only finished. It is asked
 * for the first time here, so Node has not kept an earlier answer, and `allowHalfOpen` keeps Node from closing before.
 */
function wasReset(socket) {
  return socket.remoteAddress === undefined;
}
