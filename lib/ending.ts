// What a server's process does by itself: hands over, drains and ends when it is told to. The only part of the library that
// handles signals, and with serve.ts the only one that exits; `handover run` has its own (cli/run-signals.ts, reaper.ts).
import { constants } from 'node:os';
import { HandoverError, typeError } from './errors.js';
import { publish } from './events.js';
import { expectOptions } from './fd/arguments.js';
import type { Preloaded } from './handover/open.js';
import type { Handover } from './handover/types.js';

/** The signals that `serve()` and `handover/auto` handle; `false`: none of that kind. */
export interface ServeSignals {
  /** Hands over. @default 'SIGUSR2' */
  readonly upgrade?: NodeJS.Signals | false;
  /** Drains, runs the hooks, exits 0; a second one exits at once, except under `handover run`. @default ['SIGTERM', 'SIGINT'] */
  readonly shutdown?: readonly NodeJS.Signals[] | false;
}

export function checkSignals(signals: unknown): Required<ServeSignals> {
  const { upgrade = 'SIGUSR2', shutdown = ['SIGTERM', 'SIGINT'] } = expectOptions('options.signals', signals, [
    'upgrade',
    'shutdown',
  ]);
  if (upgrade !== false) expectSignal('options.signals.upgrade', upgrade);
  if (shutdown !== false && !Array.isArray(shutdown)) {
    throw typeError('options.signals.shutdown', 'a list of signals or false', shutdown);
  }
  for (const signal of shutdown === false ? [] : shutdown) expectSignal('options.signals.shutdown', signal);
  return { upgrade, shutdown } as Required<ServeSignals>;
}

function expectSignal(name: string, signal: unknown): void {
  if (typeof signal !== 'string' || !(signal in constants.signals))
    throw typeError(name, 'the name of a signal', signal);
}

/** Handles the signals until the function returned is called. */
export function installSignals(handover: Preloaded, { upgrade, shutdown }: Required<ServeSignals>): () => void {
  const installed: [NodeJS.Signals, NodeJS.SignalsListener][] = [];
  const install = (signal: NodeJS.Signals, handler: NodeJS.SignalsListener): void => {
    process.on(signal, handler);
    installed.push([signal, handler]);
  };
  // A failed handover has been published, and said unless `log` is false: nobody waits for this promise.
  if (upgrade)
    install(upgrade, (signal) => {
      handover.upgrade({ requester: { by: 'signal', signal } }).catch(() => {});
    });
  let isShuttingDown = false;
  for (const signal of shutdown || []) {
    install(signal, () => {
      // From the supervisor and from systemd, which signals all processes of a unit: only the supervisor kills.
      if (isShuttingDown && handover.isSupervised) return;
      if (isShuttingDown) process.exit(128 + constants.signals[signal]);
      isShuttingDown = true;
      void handover.close();
    });
  }
  return () => {
    for (const [signal, handler] of installed) process.off(signal, handler);
  };
}

/** Ends the process when the handover is closed. */
export function exitWhenClosed(handover: Handover): void {
  void handover.closed.then(() => exit(handover));
}

/** How long an app that closed everything may take to end by itself. */
const EXIT_GRACE = 1_000;

/** Ends the process; if something keeps it alive, that is published first. */
function exit({ generation, closing }: Handover): void {
  process.exitCode = closing.reason instanceof HandoverError ? 1 : 0;
  const timer = setTimeout(() => {
    publish('stuck', { generation, resources: process.getActiveResourcesInfo() });
    process.exit();
  }, EXIT_GRACE);
  timer.unref();
}
