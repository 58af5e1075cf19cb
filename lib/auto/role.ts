// The effect of `handover/auto` on a process that loads it: nearly none until the process listens, because npm and tsx, which
// only start the server, load it, too.

import { processEnv } from '../platform/env.js';
import { refuseOrphan } from '../platform/orphan.js';
import { writeStderr } from '../platform/write-stderr.js';
import type { CheckedSignals, ProcessSignals } from '../process/process-signals.js';

/** Names the server process: its children inherit the variable, and its `--import`. */
export const PID_VARIABLE = 'HANDOVER_AUTO_PID';

export class Role {
  readonly #signals: CheckedSignals | false;
  readonly #passedOn: string | undefined;
  readonly #isSilent: boolean;
  #end: () => void;
  #isTaken = false;

  /** `passedOn`: added to NODE_OPTIONS until this process listens. `isSilent`: writes nothing about signals. */
  constructor(signals: CheckedSignals | false, passedOn: string | undefined, isSilent: boolean) {
    this.#signals = signals;
    this.#passedOn = passedOn;
    this.#isSilent = isSilent;
    this.#end = this.#wait();
  }

  /** Takes the role when this process listens: it handles the signals, and its children do not. */
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

  /** Gives the role up again: the process has only checked a port, for a server that it may start. */
  layDown(): void {
    if (!this.#isTaken) return;
    this.#isTaken = false;
    this.#end();
    this.#end = this.#wait();
  }

  /** Passes the `--import` on, because this process may start the server, and explains the upgrade signal meanwhile. */
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

/** Why this process cannot hand over: it listens on nothing, or is a primary of node:cluster. */
function whyNotHere(): string {
  try {
    if (processEnv.hasClusterWorkers) refuseOrphan(processEnv, false);
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string };
    return `${code}: ${message}`;
  }
  return 'this process listens on nothing, so there is nothing to hand over: signal the one that does';
}
