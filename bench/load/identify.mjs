// Tells the servers behind one address apart by a header they set, from outside.

export class Identities {
  #header;
  /** @type {Record<string, number>} Whole, right answers by identity. */
  answers = {};

  /** @param {string} header Lower case. */
  constructor(header) {
    this.#header = header;
  }

  /**
   * @param {Map<string, string>} headers
   * @returns {string | undefined} The identity, if this is its first answer.
   */
  see(headers) {
    const id = headers.get(this.#header);
    if (id === undefined) return undefined;
    const first = !Object.hasOwn(this.answers, id);
    this.answers[id] = (this.answers[id] ?? 0) + 1;
    return first ? id : undefined;
  }
}
