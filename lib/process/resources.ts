// What this process holds and hands over: the ledger, the servers that listen on its descriptors, and what the app keeps.

import type { Endpoint } from '../endpoints/endpoint.js';
import { addressOf, isDatagram } from '../endpoints/kinds.js';
import { hasCode } from '../errors.js';
import { publish } from '../events.js';
import { dup3, dupFd } from '../fd/index.js';
import { DEFAULT_BACKLOG } from '../fd/listener.js';
import { ARBITER, Arbiter } from '../handover/arbiter.js';
import { mayBeLeft, type Unclaimed } from '../handover/unclaimed.js';
import { forgetActivation, takeActivation } from '../platform/activation.js';
import type { Env } from '../platform/env.js';
import { HelpersStderr } from '../platform/helpers-stderr.js';
import { TAKEOVER } from '../platform/takeover.js';
import type { ListenerStatus } from '../protocol/control-commands.js';
import type { Claims, Hello, Manifest, ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList, Wanted } from '../protocol/manifest.js';
import { Kept } from '../resources/kept.js';
import { type Entry, Ledger, RESERVED } from '../resources/ledger.js';
import { isTlsServer, TicketKeys } from '../resources/ticket-keys.js';
import { Servers } from '../transfer/servers.js';
import { checkListenOptions } from './call-options.js';
import { CONTROL } from './control.js';
import { endpointOf, expectMigratable, manage, resolving } from './listening.js';
import { type Asked, listenerStatus } from './status.js';
import type { Listener, Listening, ListenOptions } from './types.js';

const STDERR = `${RESERVED}stderr`;

/** Binds in this process' place, and puts the descriptor into its ledger. */
export interface ListenerBroker {
  /** Whether it is there. */
  readonly isOpen: boolean;
  borrow(name: string, endpoint: Endpoint, ledger: Ledger): Promise<void>;
  /** A listener is closed here. */
  giveBack(): void;
}

export class Resources {
  readonly ledger: Ledger = new Ledger();
  readonly servers: Servers;
  readonly kept: Kept = new Kept(this.ledger);
  readonly #helpersStderr: HelpersStderr;
  readonly arbiter: Arbiter;
  readonly #ticketKeys = new TicketKeys(this.kept);
  /** Whether the predecessor wants nothing accepted before COMMIT. */
  isStandby = false;
  /** Holds the listeners for this process. */
  lender: ListenerBroker | undefined;
  #unclaimed: readonly string[] = [];
  /** Told when a listener came or went. */
  onChange: () => void = () => {};
  readonly #env: Env;
  /** Names of listeners a successor is to have; empty where there is none to come. */
  #promised: ReadonlySet<string> = new Set();
  /** Closed by the app while a handover was under way. */
  readonly #closedMeanwhile = new Set<string>();
  readonly #asked = new Map<string, Asked>();

  constructor(env: Env) {
    this.#env = env;
    this.servers = new Servers(env.clock);
    this.arbiter = new Arbiter(env.clock);
    this.#helpersStderr = new HelpersStderr(this.ledger, env);
  }

  /**
   * Claims or binds, and has the server accept from `servers.acceptAll()` on. Waits only where something takes time, so
   * that a server without TLS at an IP address or a path listens when the call returns, as by Node's own `listen()`.
   */
  async listen(listener: Listener, options: ListenOptions, isOptional: boolean = false): Promise<Listening> {
    const { name: given, migrate, ...where } = checkListenOptions(options);
    expectMigratable(listener, migrate);
    const asked = endpointOf(listener, where);
    const resolution = resolving(asked);
    const endpoint = resolution === undefined ? asked : await resolution;
    const wanted = given ?? endpoint.canonical;
    // No successor has to know it by its name.
    const name = isOptional ? this.ledger.freeName(wanted) : wanted;
    // What a successor may leave is this process' own.
    const borrowing = isOptional ? undefined : this.#borrowing(name, endpoint);
    const borrowed =
      borrowing &&
      (await borrowing.then(
        () => undefined,
        (error: unknown) => ({ error }),
      ));
    const entry = this.#take(name, endpoint, isOptional, borrowed);
    // Now: the app may close the server as soon as it says that it listens.
    const address = addressOf(entry);
    const managed = manage(listener, name, where.backlog, () => this.#release(name), migrate);
    const backlogAsked = isDatagram(entry) ? undefined : (where.backlog ?? DEFAULT_BACKLOG);
    this.#asked.set(name, { backlog: backlogAsked, reusePort: where.reusePort ?? false });
    publish('listen', { name, address: entry.address, origin: entry.origin });
    if (isTlsServer(listener)) await this.#ticketKeys.add(name, listener);
    await this.servers.add(name, managed, () => ({ fd: dupFd(entry.fd) }));
    this.onChange();
    return { name, address, origin: entry.origin };
  }

  /** A place that only what was inherited keeps from being bound is free for those who do not know of that. */
  #take(
    name: string,
    endpoint: Endpoint,
    isOptional: boolean,
    borrowed: { readonly error: unknown } | undefined,
  ): Entry {
    try {
      if (borrowed) throw borrowed.error;
      return this.#reclaim(name, endpoint) ?? this.ledger.listener(name, endpoint, isOptional);
    } catch (error) {
      const isInUse = hasCode(error, 'ERR_HANDOVER_ADDRESS_IN_USE') || hasCode(error, 'EADDRINUSE');
      const standIn = isInUse && this.servers.announces ? this.ledger.standIn(name, endpoint) : undefined;
      if (!standIn) throw error;
      return standIn;
    }
  }

  /** Whether a listener of this process has this name. */
  isListening(name: string): boolean {
    return this.ledger.get(name) !== undefined && !this.#closedMeanwhile.has(name);
  }

  /**
   * A handover begins: from here on a listener that the app closes stays open for the successor, which may not have it yet:
   * who connects waits in its queue. Not one that it opens from here on.
   */
  keepClosed(): void {
    this.#promised = new Set(this.ledger.listeners.map(({ name }) => name));
  }

  /** The successor has them all. */
  keepNoMore(): void {
    this.#promised = new Set();
  }

  /** There is no successor after all, to whom they would be left. */
  closeKept(): void {
    this.keepNoMore();
    for (const name of this.#closedMeanwhile) this.#close(name);
    this.#closedMeanwhile.clear();
  }

  /** Claims, has the lender bind, or binds. */
  async open(name: string, endpoint: Endpoint): Promise<Entry> {
    await this.#borrowing(name, endpoint);
    return this.ledger.listener(name, endpoint);
  }

  /** The app's listeners, as the kernel has them now. */
  get listeners(): readonly ListenerStatus[] {
    return this.ledger.listeners.map((entry) => listenerStatus(entry, this.#asked.get(entry.name)));
  }

  /**
   * Stops accepting, but on what a successor may leave and has left, or did not know of when it claimed. Without a successor:
   * but on what any may leave.
   */
  suspend(claimed: readonly string[] = [], offered?: ReadonlySet<ManifestEntry>): void {
    const isLeft = (name: string): boolean => {
      const entry = this.ledger.get(name);
      if (!entry || claimed.includes(name)) return false;
      return entry.isOptional === true || offered?.has(entry) === false;
    };
    this.servers.suspendAll(isLeft);
  }

  /** Listeners a predecessor handed over that this process has not claimed, and so has closed when it is in charge. */
  get unclaimed(): readonly string[] {
    // COMMIT may bring more that no release as old as this one could claim.
    return [...new Set([...this.#unclaimed, ...this.ledger.unknown])];
  }

  /** What became of the listeners a predecessor handed over. */
  claims(unclaimed: Unclaimed): Claims {
    const report = this.ledger.report();
    this.#unclaimed = report.unclaimed;
    const left = this.ledger.unclaimedListeners
      .filter(({ name }) => mayBeLeft(unclaimed, name))
      .map(({ name }) => name);
    const bound = this.ledger.listeners.filter(({ origin }) => origin === 'bound');
    const own = bound.map(({ name, address }) => ({ name, address }));
    // A release that does not know a kind of listener cannot claim one: were it to fail, nothing could go back to it.
    return { ...report, ...(own.length > 0 && { bound: own }), left: [...left, ...this.ledger.unknown] };
  }

  /** What a successor of `self` needs to load; the sockets to reach this process follow at COMMIT. */
  early(self: Hello, { stderr, tickets, arbiter }: Wanted): DescriptorList {
    const { entries, fds } = this.ledger.manifest();
    const early = entries
      .map((entry, i) => ({ entry, fd: fds[i] ?? -1 }))
      .filter(({ entry }) => entry.name !== TAKEOVER && entry.name !== CONTROL);
    if (stderr) early.push({ entry: { name: STDERR, kind: 'descriptor', address: '' }, fd: this.#env.stderrFd });
    const list = { entries: early.map(({ entry }) => entry), fds: Int32Array.from(early, ({ fd }) => fd) };
    const turn = this.arbiter.offer(self, arbiter);
    const all = join(list, turn);
    return tickets ? join(all, this.#ticketKeys.collect()) : all;
  }

  /** Everything, the app's state and the ticket keys as they are now. */
  async all(): Promise<DescriptorList> {
    const state = await this.kept.collect();
    const { entries, fds } = this.ledger.manifest();
    return join(
      { entries: [...entries, ...state.entries], fds: Int32Array.of(...fds, ...state.fds) },
      this.#ticketKeys.collect(),
    );
  }

  /** Nobody takes what was handed over: listens again. `reopen`: also what the app has closed since it stopped. */
  takeBack(options: { readonly reopen: boolean }): Promise<void> {
    this.kept.release();
    this.closeKept();
    return this.servers.resumeAll(options);
  }

  /** Takes descriptors that a predecessor hands over. */
  inherit({ entries, standby = false }: Manifest, fds: Int32Array): void {
    this.isStandby ||= standby;
    this.ledger.inherit(entries, fds);
    const turn = this.ledger.claim(ARBITER);
    if (turn) this.arbiter.adopt(dupFd(turn.fd), Number(turn.address));
    this.ledger.release(ARBITER);
    this.#ticketKeys.resume();
    this.#helpersStderr.claim(entries);
  }

  /** stderr is a pipe into the predecessor, which ends: from here on it is what the predecessor writes to (FACTS P1). */
  adoptStderr(): void {
    const entry = this.ledger.claim(STDERR);
    if (!entry) return;
    dup3(entry.fd, this.#env.stderrFd, false);
    this.ledger.release(STDERR);
  }

  /**
   * Takes what whoever started this process passed along by environment variables. An heir has a predecessor that passes on
   * everything, and a supervisor lends every listener: what the variables say is then superfluous, or not true any more.
   * @throws ERR_HANDOVER_ACTIVATION
   */
  activate({ isHeir, isLent }: { readonly isHeir: boolean; readonly isLent: boolean }): void {
    const { variables, pid, parentPid } = this.#env;
    if (isHeir || isLent) forgetActivation(variables);
    else this.ledger.activate(takeActivation(variables, pid, parentPid));
  }

  /** The predecessor is gone: what it read of others is read here. */
  readHelpersStderr(): void {
    this.#helpersStderr.read();
  }

  /** Closes everything; `removePaths`: nobody comes after this process. */
  close(options: { readonly removePaths: boolean }): void {
    this.kept.release();
    this.arbiter.close();
    this.ledger.close(options);
  }

  /** Undefined where there is nothing to wait for. */
  #borrowing(name: string, endpoint: Endpoint): Promise<void> | undefined {
    return this.ledger.isInherited(name, endpoint) ? undefined : this.lender?.borrow(name, endpoint, this.ledger);
  }

  /** Closed meanwhile, and opened again by the app at the same address. */
  #reclaim(name: string, { kind, canonical }: Endpoint): Entry | undefined {
    const entry = this.#closedMeanwhile.has(name) ? this.ledger.get(name) : undefined;
    if (entry?.kind !== kind || entry.address !== canonical) return undefined;
    this.#closedMeanwhile.delete(name);
    return entry;
  }

  #release(name: string): void {
    this.servers.remove(name);
    this.#ticketKeys.remove(name);
    if (this.#promised.has(name)) this.#closedMeanwhile.add(name);
    else this.#close(name);
  }

  #close(name: string): void {
    // What waits to be claimed again is in use.
    if (this.ledger.release(name)) this.lender?.giveBack();
    this.onChange();
  }
}

function join(list: DescriptorList, { entries, fds, release }: Required<DescriptorList>): DescriptorList {
  return {
    entries: [...list.entries, ...entries],
    fds: Int32Array.of(...list.fds, ...fds),
    release() {
      list.release?.();
      release();
    },
  };
}
