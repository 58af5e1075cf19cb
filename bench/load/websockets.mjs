// WebSockets that send a numbered message now and then, and hear each of them back.

import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Numbering } from './numbering.mjs';

const closeTimeout = 2_000;
const answerInterval = 20;

/** @typedef {{ open: number, closed: number, messages: number, lost: number, doubled: number, reordered: number }} Counts */

export class WebSockets {
  #target;
  #group;
  #rounds;
  #members = [];
  #isEnding = false;
  #closed = 0;

  /**
   * @param {import('./connection.mjs').Target} target
   * @param {{ connections: number, think: number }} group `think`: up to so many milliseconds between two messages.
   * @param {import('./rounds.mjs').Rounds} rounds
   */
  constructor(target, group, rounds) {
    this.#target = target;
    this.#group = group;
    this.#rounds = rounds;
  }

  /** @returns {Counts} */
  get counts() {
    const sum = (of) => this.#members.reduce((total, { numbering }) => total + of(numbering), 0);
    return {
      open: this.#members.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length,
      closed: this.#closed,
      messages: sum(({ received }) => received),
      lost: sum(({ lost }) => lost),
      doubled: sum(({ doubled }) => doubled),
      reordered: sum(({ reordered }) => reordered),
    };
  }

  /** Runs until stopped; what is under way then is still awaited. @param {AbortSignal} stop */
  async run(stop) {
    await Promise.all(Array.from({ length: this.#group.connections }, () => this.#converse(stop)));
  }

  /** Closes them; from here on they are no longer counted as open. */
  async end() {
    this.#isEnding = true;
    await Promise.all(this.#members.map(close));
  }

  async #converse(stop) {
    const { host, port, deadline } = this.#target;
    const socket = new WebSocket(`ws://${host}:${port}/`, { perMessageDeflate: false, handshakeTimeout: deadline });
    const numbering = new Numbering();
    const member = this.#rounds.join();
    this.#members.push({ socket, numbering });
    /** The message that answers a round, once it is answered itself. */
    let asked = { round: 0, number: 0 };
    socket.on('message', (data) => {
      numbering.receive(String(data));
      if (asked.round > 0 && numbering.hasAnswered(asked.number)) this.#rounds.answered(member, asked.round);
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      if (!this.#isEnding) this.#closed++;
    });
    if (!(await opens(socket))) return this.#rounds.leave(member);
    while (!stop.aborted && socket.readyState === WebSocket.OPEN) {
      const { current } = this.#rounds;
      const number = numbering.next();
      if (asked.round < current) asked = { round: current, number };
      socket.send(String(number));
      // Not woken by a round: the next message is never far.
      await sleep(Math.random() * this.#group.think);
    }
    const end = performance.now() + deadline;
    while (!numbering.hasAnswered(numbering.sent) && socket.readyState === WebSocket.OPEN && performance.now() < end) {
      await sleep(answerInterval);
    }
    this.#rounds.leave(member);
  }
}

function opens(socket) {
  return new Promise((resolve) => {
    socket.once('open', () => resolve(true));
    socket.once('close', () => resolve(false));
  });
}

function close({ socket }) {
  if (socket.readyState === WebSocket.CLOSED) return undefined;
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.terminate(), closeTimeout);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close();
  });
}
