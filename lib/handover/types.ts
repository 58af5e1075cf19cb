// The public shape of a handover.
import type { Socket as DatagramSocket } from 'node:dgram';
import type { AddressInfo, Server } from 'node:net';
import type { DrainingGeneration } from '../channel/wire.js';
import type { Migration } from '../connections/raw.js';
import type { ListenAddress } from '../ledger/address.js';
import type { Inherited, Keepable } from './kept.js';
import type { UpgradeOutcome } from './outcome.js';
import type { Standby } from './standby.js';
import type { UpgradeOptions } from './upgrades.js';

/** What can be handed over: servers of net, http, https and http2, and UDP sockets. */
export type Listener = Server | DatagramSocket;

export interface ListenOptions extends ListenAddress {
  /**
   * The successor claims a listener by name and address; two listeners at one address are kept apart by it. Names that
   * begin with `handover:` are the library's. @default the address, for example `tcp://*:8080`
   */
  readonly name?: string;
  /**
   * For a `net.Server`: its live connections move to a successor that listens with this option too; without it they drain.
   * @example
   * ```ts
   * await handover.listen(server, {
   *   port: 7000,
   *   migrate: {
   *     save: (socket) => counts.get(socket),
   *     restore: (socket, count: number) => talk(socket, count),
   *   },
   * });
   * ```
   */
  readonly migrate?: Migration;
}

/** What `listen` did. */
export interface Listening {
  readonly name: string;
  /** As `server.address()` gives it; a Unix path or abstract name as a string. */
  readonly address: AddressInfo | string;
  /**
   * `inherited`: the socket is the predecessor's, with all that waits in its queue; `activated`: a supervisor passed it
   * along (systemd, Server::Starter, einhorn …).
   */
  readonly origin: 'inherited' | 'activated' | 'bound';
}

export interface CloseHookOptions {
  /** Milliseconds the hook may take. @default 5000 */
  readonly timeout?: number;
  /** Name of a hook that must have run before, whatever the order of declaration. */
  readonly after?: string;
}

/** This process' part in a chain of generations. Made by `openHandover`. */
export interface Handover extends AsyncDisposable {
  /** 1 for the first process of a chain. */
  readonly generation: number;
  /** Whether this process is the one new work goes to. */
  readonly isInCharge: boolean;
  /**
   * Aborted when this process has been superseded or is shutting down; a new one after a successor failed. End on it what
   * never ends by itself, server-sent events and long polls: their clients come again, to the successor.
   */
  readonly closing: AbortSignal;
  /** Resolves when this process has served its last request and its hooks have run. Never rejects. */
  readonly closed: Promise<void>;
  /** Older generations that still drain, as they last said: age in ms, open connections. */
  readonly draining: readonly DrainingGeneration[];

  /**
   * Claims the inherited socket of this name and address, or one that a supervisor passed along by name or address, or
   * binds one. The server accepts from `ready()` on, or at once
   * when this process is ready already. `server.close()` by the app gives the address back and drains.
   * @throws ERR_HANDOVER_ADDRESS_IN_USE the predecessor holds the address and did not hand it over
   * @throws EADDRINUSE, EACCES … as bind(2); TypeError, RangeError a bad or unknown option
   */
  listen(listener: Listener, options: ListenOptions): Promise<Listening>;

  /**
   * Accepts on every listener and tells the predecessor that this process serves; what was inherited and not claimed is
   * closed. Resolves when this process accepts.
   * @throws ERR_HANDOVER_ABORTED the predecessor gave the handover up
   */
  ready(): Promise<void>;

  /**
   * Starts a successor with this process' own command and hands everything over to it. Resolves when it is in charge;
   * this process then drains in the background (see `closed`).
   * @throws HandoverError: the successor failed or was refused; `stillServing` says that this process serves on
   * @throws the signal's reason
   */
  upgrade(options?: UpgradeOptions): Promise<UpgradeOutcome>;

  /**
   * Starts a successor that loads and warms up, and waits: it accepts only when it is committed. One at a time.
   * @throws as `upgrade()`
   */
  prepare(options?: UpgradeOptions): Promise<Standby>;

  /** Runs `duty` in exactly one generation: now, or as soon as this one is in charge; its signal is aborted at COMMIT. */
  whenInCharge(duty: (signal: AbortSignal) => unknown): void;

  /** The exit waits until the promise has settled, up to `drainTimeout`. */
  waitUntil(work: Promise<unknown>): void;

  /**
   * Hands bytes (in sealed memory, not through the socket) or a descriptor to the next generations under a name, in place
   * of what it was. A function is asked at COMMIT. A descriptor is duplicated; yours stays yours.
   */
  keep(name: string, value: Keepable): void;

  /**
   * What an older generation kept under this name; undefined where there is none. Bytes of a function are there once this
   * process is in charge. What is never asked for is closed when the predecessor is gone.
   */
  inherited(name: string): Inherited | undefined;

  /** Runs `hook` after the last request, in the order of the calls, each within its timeout. One that fails is published. */
  onClose(name: string, hook: () => unknown, options?: CloseHookOptions): void;

  /** Drains, runs the hooks, closes everything: `closed` when that is done. A handover that is not committed is ended. */
  close(): Promise<void>;
}
