// The part of the world in a case: signals, continues what stopped, asks what waits, each when an event says so.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { identify, signal } from '../helpers/processes.js';
import { until } from '../helpers/until.js';
import type { Client } from './client.js';
import { stateOf } from './holdings.js';
import type { Log, Said } from './log.js';
import { type Cell, leaves } from './points.js';

const HEARTBEATS_UNTIL_QUIET = 8;
/** Short enough not to count as a hang, long enough for everything asked meanwhile to arrive. */
const PAUSE = 400;

/** What of a case it looks at. */
export interface Scene {
  readonly cell: Cell;
  readonly log: Log;
  readonly client: Client;
  readonly first: number;
  /** The file that ends a busy loop. */
  readonly release: string;
  readonly delay: number | undefined;
}

export class World {
  readonly #case: Scene;
  /** One process is left: nobody is signalled any more. */
  isOver = false;

  constructor(scene: Scene) {
    this.#case = scene;
  }

  watch(): void {
    const { log, cell, first } = this.#case;
    const { kind, point } = cell;
    const { delay } = this.#case;
    if (delay !== undefined) {
      // A random moment is what this schedule is about.
      void log.first(first, 'phase').then(() => setTimeout(() => this.#signal(), delay));
    } else if (point.signalledAt) {
      void log.when((said) => said.event === 'phase' && said.phase === point.signalledAt).then(() => this.#signal());
    }
    if (point.isMoving)
      void log.when(({ event }) => event === 'fault').then(() => this.#case.client.askFleet(leaves(cell) ? 1 : 3));
    if (kind !== 'stop' && kind !== 'busy' && kind !== 'pause') return;
    void log.when(({ event }) => event === 'fault').then((fault) => this.#whenHung(fault));
  }

  #signal(): void {
    if (this.isOver) return;
    const pid = this.#case.cell.point.role === 'predecessor' ? this.#case.first : this.#case.log.successor;
    const id = pid === undefined ? undefined : identify(pid);
    if (id) signal(id, 'SIGHUP');
  }

  async #whenHung(fault: Said): Promise<void> {
    const { log, cell, first } = this.#case;
    if (cell.kind === 'busy' && cell.point.role === 'successor') return;
    const id = identify(fault.pid);
    if (cell.kind !== 'busy' && id) {
      await until(() => stateOf(fault.pid) === 'T' || !identify(fault.pid), { what: 'the fault to stop the process' });
    }
    // As long as the schedule says: what the other side does meanwhile is as random as the moment.
    if (cell.point.name === 'random') await pause(cell.kind === 'pause' ? 150 : 1_000);
    else if (cell.kind === 'pause') await pause(PAUSE);
    else if (cell.point.role === 'predecessor') await this.#successorIsQuiet(fault);
    else await log.when((said) => (said.pid === first && isSent(said, 'ABORT')) || isEnd(said, first));
    if (cell.kind === 'busy') writeFileSync(this.#case.release, '');
    else if (id) signal(id, 'SIGCONT');
  }

  /** A successor whose predecessor hangs goes as far as it gets. */
  async #successorIsQuiet({ at }: Said): Promise<void> {
    const { quiet } = this.#case.cell.point;
    if (quiet !== undefined) {
      await this.#case.log.when((said) => said.event === 'frame' && `${said.direction}:${said.name}` === quiet);
      return;
    }
    let beats = 0;
    const { log } = this.#case;
    await log.when((said) => {
      if (said.event === 'exit' && said.pid === log.successor) return true;
      return said.at > at && isSent(said, 'HEARTBEAT') && ++beats === HEARTBEATS_UNTIL_QUIET;
    });
  }
}

function isSent(said: Said, name: string): boolean {
  return said.event === 'frame' && said.direction === 'sent' && said.name === name;
}

function isEnd({ pid, event }: Said, first: number): boolean {
  return pid === first && event === 'ended';
}
