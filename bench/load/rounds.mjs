// Rounds: from time to time everybody is asked once, and somebody waits until all have been.

export class Rounds {
  #wake = new Set();
  #round = 0;
  #left = 0;
  #members = 0;
  #hasEnded = false;
  #over;

  /** @param {(round: number) => void} over Told when everybody has been asked in this round. */
  constructor(over) {
    this.#over = over;
  }

  /** The latest round. */
  get current() {
    return this.#round;
  }

  /** Takes part from now on. */
  join() {
    this.#members++;
    return { answered: this.#round };
  }

  /** Has no more to say; a round does not wait for it. */
  leave(member) {
    this.#members--;
    if (member.answered < this.#round) this.#settle();
  }

  /** A new round: whoever sleeps is woken. */
  begin() {
    this.#round++;
    this.#left = this.#members;
    for (const wake of [...this.#wake]) wake();
    if (this.#left === 0) this.#over(this.#round);
  }

  /** The member was asked after round `round` had begun, and has answered. */
  answered(member, round) {
    if (member.answered >= round) return;
    member.answered = round;
    if (round === this.#round) this.#settle();
  }

  /** Sleeps so long, or until a round begins that the member has not answered. */
  async sleep(member, time) {
    if (this.#hasEnded || member.answered < this.#round) return;
    await new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wake.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, time);
      this.#wake.add(wake);
    });
  }

  /** Nobody sleeps any more. */
  end() {
    this.#hasEnded = true;
    for (const wake of [...this.#wake]) wake();
  }

  #settle() {
    if (--this.#left === 0) this.#over(this.#round);
  }
}
