// What `handover/auto` does to a process that it is loaded into: nearly nothing, until that process listens. npm, tsx and shells
// load it, too, and start the server.

import { processEnv } from '../platform/env.js';
import { refuseOrphan } from '../platform/orphan.js';
import { writeStderr } from '../platform/write-stderr.js';
import type { CheckedSignals, ProcessSignals } from '../process/process-signals.js';

/** The process that hands over by itself: what it starts inherits the variable, and its `--import`. */
export const PID_VARIABLE = 'HANDOVER_AUTO_PID';

export class Role {
  readonly #signals: CheckedSignals | false;
  readonly #passedOn: string | undefined;
  readonly #isSilent: boolean;
  #end: () => void;
  #isTaken = false;

  /** `passedOn`: what is added to NODE_OPTIONS until this process listens. `isSilent`: nothing is said of signals. */
  constructor(signals: CheckedSignals | false, passedOn: string | undefined, isSilent: boolean) {
    this.#signals = signals;
    this.#passedOn = passedOn;
    this.#isSilent = isSilent;
    this.#end = this.#wait();
  }

  /** This process listens: it hands over, drains and ends as it is told, and what it starts is left alone. */
  take(ending: ProcessSignals): void {
    if (this.#isTaken) return;
    this.#isTaken = true;
    this.#end();
    process.env[PID_VARIABLE] = String(process.pid);
    ending.install();
    this.#end = () => {
      ending.uninstall();
      delete process.env[PID_VARIABLE];
    };
  }

  /** It has only tried a port, for a server that it may start. */
  layDown(): void {
    if (!this.#isTaken) return;
    this.#isTaken = false;
    this.#end();
    this.#end = this.#wait();
  }

  /** The server may be one that this process starts, with no `--import` of its own. */
  #wait(): () => void {
    const { upgrade } = this.#signals || {};
    const tell = (signal: NodeJS.Signals): void => {
      if (!this.#isSilent) writeStderr(Buffer.from(`handover[${process.pid}]: ${signal}: ${whyNotHere()}\n`));
    };
    if (upgrade) process.on(upgrade, tell);
    const { NODE_OPTIONS } = process.env;
    const passed = `${NODE_OPTIONS ? `${NODE_OPTIONS} ` : ''}${this.#passedOn}`;
    if (this.#passedOn) process.env.NODE_OPTIONS = passed;
    return () => {
      if (upgrade) process.off(upgrade, tell);
      if (!this.#passedOn || process.env.NODE_OPTIONS !== passed) return;
      if (NODE_OPTIONS === undefined) delete process.env.NODE_OPTIONS;
      else process.env.NODE_OPTIONS = NODE_OPTIONS;
    };
  }
}

/** Why a process that listens on nothing hands nothing over; a primary of node:cluster would not if it did. */
function whyNotHere(): string {
  try {
    if (processEnv.hasClusterWorkers) refuseOrphan(processEnv, false);
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string };
    return `${code}: ${message}`;
  }
  return 'this process listens on nothing, so there is nothing to hand over: signal the one that does';
}
