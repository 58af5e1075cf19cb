// What is shown while the demo runs: a redrawn block on a terminal, a line a second elsewhere.

import { count, milliseconds, painter } from './text.mjs';

const barWidth = 24;
const neededColumns = 80;
const redrawInterval = 100;
const lineInterval = 1_000;
/** Requests per second are taken over so many milliseconds. */
const rateWindow = 1_000;

/**
 * @typedef {object} Snapshot
 * @property {number} elapsed Seconds.
 * @property {number} seconds
 * @property {import('./server.mjs').Generation | undefined} inCharge
 * @property {number} handovers Done.
 * @property {number} handoversWanted
 * @property {import('./load.mjs').Stats} stats
 */

export class View {
  #stream;
  #paint;
  #timer;
  #redraws;
  #drawnLines = 0;
  #samples = [];

  /** @param {NodeJS.WriteStream} stream */
  constructor(stream) {
    this.#stream = stream;
    this.#paint = painter(stream);
    // A wrapped line would take two rows and spoil the redrawing. 0 columns: a terminal that does not know.
    this.#redraws = Boolean(stream.isTTY) && (stream.columns || neededColumns) >= neededColumns;
  }

  /** @param {() => Snapshot} look */
  start(look) {
    this.#samples = [{ now: performance.now(), total: 0 }];
    this.#timer = setInterval(() => this.#show(look()), this.#redraws ? redrawInterval : lineInterval);
  }

  /** Takes the live block away. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#erase();
  }

  /** A line that stays. @param {string} line */
  say(line) {
    this.#erase();
    this.#stream.write(`${line}\n`);
  }

  /** @param {import('./report.mjs').Handover} handover */
  switched({ from, to, switchTime }) {
    if (!this.#redraws) return;
    const pids = `pid ${from.process.pid} -> ${to.process.pid}`;
    const first = `first answer of the new after ${milliseconds(switchTime)}`;
    this.say(`  generation ${from.generation} -> ${to.generation}   ${this.#paint('faint', pids)}   ${first}`);
  }

  #show(snapshot) {
    const rate = this.#rate(snapshot.stats.ok + snapshot.stats.failed);
    if (this.#redraws) this.#draw(this.#block(snapshot, rate));
    else this.#stream.write(`${line(snapshot, rate)}\n`);
  }

  #rate(total) {
    const now = performance.now();
    this.#samples.push({ now, total });
    while (this.#samples.length > 2 && now - this.#samples[1].now >= rateWindow) this.#samples.shift();
    const first = this.#samples[0];
    return now === first.now ? 0 : ((total - first.total) / (now - first.now)) * 1_000;
  }

  #block({ elapsed, seconds, inCharge, handovers, handoversWanted, stats }, rate) {
    const paint = this.#paint;
    const filled = Math.min(barWidth, Math.round((elapsed / seconds) * barWidth));
    const bar = '█'.repeat(filled) + paint('faint', '░'.repeat(barWidth - filled));
    const failed = paint(stats.failed === 0 ? 'good' : 'bad', `${count(stats.failed)} failed`);
    return [
      '',
      `  ${bar}  ${elapsed.toFixed(1)} of ${seconds} s   handover ${handovers} of ${handoversWanted}`,
      `  ${paint('strong', `generation ${inCharge?.generation ?? '-'}`)} in charge, pid ${inCharge?.process.pid ?? '-'}`,
      `  ${count(Math.round(rate))} requests/s   ${count(stats.ok)} ok   ${failed}`,
      `  ${count(stats.opened)} connections opened, ${count(stats.closedByServer)} closed by the server`,
      `  ${webSocketLine(stats.webSockets, paint)}`,
    ];
  }

  #draw(lines) {
    this.#erase();
    this.#stream.write(`${lines.join('\n')}\n`);
    this.#drawnLines = lines.length;
  }

  #erase() {
    if (this.#drawnLines > 0) this.#stream.write(`\x1b[${this.#drawnLines}A\r\x1b[J`);
    this.#drawnLines = 0;
  }
}

function webSocketLine({ open, closed, messages }, paint = (_style, text) => text) {
  const gone = paint(closed === 0 ? 'good' : 'bad', `${count(closed)} closed`);
  return `${count(open)} WebSockets, ${gone}, ${count(messages)} messages`;
}

function line({ elapsed, seconds, inCharge, handovers, handoversWanted, stats }, rate) {
  return [
    `${elapsed.toFixed(1).padStart(6)} of ${seconds} s`,
    `handover ${handovers} of ${handoversWanted}`,
    `generation ${inCharge?.generation ?? '-'}`,
    `${count(Math.round(rate))} requests/s`,
    `${count(stats.ok)} ok`,
    `${count(stats.failed)} failed`,
    `${count(stats.closedByServer)} connections closed by the server`,
    webSocketLine(stats.webSockets),
  ].join(' | ');
}
