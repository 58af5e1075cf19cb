// Numbered messages both ways on one connection: what was lost, doubled or out of order, exactly.
//
// The client sends 1, 2, 3 …; the server answers each with `<how many it has sent> <the number>`. Both go up by one.

export class Numbering {
  sent = 0;
  received = 0;
  doubled = 0;
  reordered = 0;

  #highest = 0;
  /** Numbers below the highest that have not come. */
  #missing = new Set();
  /** Answers that no message of ours explains, or that the server counts wrong: it has forgotten some, or sent others. */
  #unexplained = 0;

  /** The number to send next. */
  next() {
    return ++this.sent;
  }

  /** @param {string} text */
  receive(text) {
    const [count, number] = text.split(' ').map(Number);
    this.received++;
    if (!Number.isInteger(number) || number < 1 || number > this.sent) {
      this.#unexplained++;
      return;
    }
    this.#place(number);
    // After a gap the two differ, and whose the gap is does not matter: it is counted.
    const isWhole = this.#missing.size === 0 && this.doubled === 0 && this.reordered === 0;
    if (isWhole && count !== number) this.#unexplained++;
  }

  /** What has no answer (yet: at the end it has none), and what the server counted wrong. */
  get lost() {
    return this.#missing.size + (this.sent - this.#highest) + this.#unexplained;
  }

  /** Whether this one was answered, or one sent after it. @param {number} number */
  hasAnswered(number) {
    return this.#highest >= number;
  }

  #place(number) {
    if (number > this.#highest) {
      for (let between = this.#highest + 1; between < number; between++) this.#missing.add(between);
      this.#highest = number;
    } else if (this.#missing.delete(number)) {
      this.reordered++;
    } else {
      this.doubled++;
    }
  }
}
