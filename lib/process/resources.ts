// What this process holds and hands over: the ledger, the servers that listen on its descriptors, and the state that the
// app keeps.

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

/** The link to a supervisor that binds listeners and lends them to this process. */
export interface ListenerBroker {
  /** Whether the supervisor is connected. */
  readonly isOpen: boolean;
  /** Puts the descriptor of the supervisor's listener into `ledger`, where it waits to be claimed. */
  borrow(name: string, endpoint: Endpoint, ledger: Ledger): Promise<void>;
  /** Tells the supervisor that this process has closed a listener. */
  giveBack(): void;
}

export class Resources {
  readonly ledger: Ledger = new Ledger();
  readonly servers: Servers;
  readonly kept: Kept = new Kept(this.ledger);
  readonly #helpersStderr: HelpersStderr;
  readonly arbiter: Arbiter;
  readonly #ticketKeys = new TicketKeys(this.kept);
  /** Whether this process is a standby, which accepts only from COMMIT on. */
  isStandby = false;
  /** The supervisor that holds the listeners; undefined without one. */
  lender: ListenerBroker | undefined;
  #unclaimed: readonly string[] = [];
  /** Called when a listener was added or closed. */
  onChange: () => void = () => {};
  readonly #env: Env;
  /** During a handover the names of the listeners that the successor is to get; otherwise empty. */
  #promised: ReadonlySet<string> = new Set();
  /** Names of listeners that the app closed during a handover; their descriptors are still open. */
  readonly #closedMeanwhile = new Set<string>();
  readonly #asked = new Map<string, Asked>();

  constructor(env: Env) {
    this.#env = env;
    this.servers = new Servers(env.clock);
    this.arbiter = new Arbiter(env.clock);
    this.#helpersStderr = new HelpersStderr(this.ledger, env);
  }

  /**
   * Claims or binds a listener. The server accepts from `servers.acceptAll()` on. Waits only for what takes time, so that a
   * server without TLS at an IP address or a path listens when the call returns, as by Node's own `listen()`.
   */
  async listen(listener: Listener, options: ListenOptions, isOptional: boolean = false): Promise<Listening> {
    const { name: given, migrate, ...where } = checkListenOptions(options);
    expectMigratable(listener, migrate);
    const asked = endpointOf(listener, where);
    const resolution = resolving(asked);
    const endpoint = resolution === undefined ? asked : await resolution;
    const wanted = given ?? endpoint.canonical;
    // A successor need not claim an optional listener, so any free name will do.
    const name = isOptional ? this.ledger.freeName(wanted) : wanted;
    // An optional listener is this process' own: the supervisor does not lend it.
    const borrowing = isOptional ? undefined : this.#borrowing(name, endpoint);
    const borrowed =
      borrowing &&
      (await borrowing.then(
        () => undefined,
        (error: unknown) => ({ error }),
      ));
    const entry = this.#take(name, endpoint, isOptional, borrowed);
    // Read now, because the app may close the server on 'listening'.
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

  /**
   * Opens the listener. Where only an unclaimed inherited listener occupies the address, and the app is just checking it
   * (`announceAtOnce`), the app gets a stand-in instead of an error.
   */
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
   * Called when a handover begins. From now on a listener that the app closes stays open for the successor, which may not
   * have it yet; clients wait in its queue. Does not apply to listeners that the app opens later.
   */
  keepClosed(): void {
    this.#promised = new Set(this.ledger.listeners.map(({ name }) => name));
  }

  /** Called when the successor has all listeners. */
  keepNoMore(): void {
    this.#promised = new Set();
  }

  /** Called when the handover failed: closes the listeners that the app has closed meanwhile. */
  closeKept(): void {
    this.keepNoMore();
    for (const name of this.#closedMeanwhile) this.#close(name);
    this.#closedMeanwhile.clear();
  }

  /** Claims a listener, borrows it from the supervisor, or binds it. The ledger owns the descriptor. */
  async open(name: string, endpoint: Endpoint): Promise<Entry> {
    await this.#borrowing(name, endpoint);
    return this.ledger.listener(name, endpoint);
  }

  /** The app's listeners, as the kernel has them now. */
  get listeners(): readonly ListenerStatus[] {
    return this.ledger.listeners.map((entry) => listenerStatus(entry, this.#asked.get(entry.name)));
  }

  /**
   * Stops accepting, except on listeners that the successor does not take over: optional ones that it did not claim, and
   * ones that were opened after the offer. Without a successor: except on optional ones.
   */
  suspend(claimed: readonly string[] = [], offered?: ReadonlySet<ManifestEntry>): void {
    const isLeft = (name: string): boolean => {
      const entry = this.ledger.get(name);
      if (!entry || claimed.includes(name)) return false;
      return entry.isOptional === true || offered?.has(entry) === false;
    };
    this.servers.suspendAll(isLeft);
  }

  /**
   * Names of the listeners that the predecessor handed over and this process did not claim; closed once it is in charge.
   */
  get unclaimed(): readonly string[] {
    // COMMIT may bring further listeners of kinds that this release does not know.
    return [...new Set([...this.#unclaimed, ...this.ledger.unknown])];
  }

  /** What this process did with the listeners that the predecessor handed over, for CLAIMED. */
  claims(unclaimed: Unclaimed): Claims {
    const report = this.ledger.report();
    this.#unclaimed = report.unclaimed;
    const left = this.ledger.unclaimedListeners
      .filter(({ name }) => mayBeLeft(unclaimed, name))
      .map(({ name }) => name);
    const bound = this.ledger.listeners.filter(({ origin }) => origin === 'bound');
    const own = bound.map(({ name, address }) => ({ name, address }));
    // This release cannot claim a kind of listener that it does not know. Failing for that would forbid a rollback to it.
    return { ...report, ...(own.length > 0 && { bound: own }), left: [...left, ...this.ledger.unknown] };
  }

  /** The descriptors that a successor of `self` needs while it loads; the takeover and control sockets follow at COMMIT. */
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

  /** All descriptors, with the app's state and the ticket keys as of now. */
  async all(): Promise<DescriptorList> {
    const state = await this.kept.collect();
    const { entries, fds } = this.ledger.manifest();
    return join(
      { entries: [...entries, ...state.entries], fds: Int32Array.of(...fds, ...state.fds) },
      this.#ticketKeys.collect(),
    );
  }

  /** Accepts again after a failed handover. `reopen`: also servers that the app has closed since `suspend()`. */
  takeBack(options: { readonly reopen: boolean }): Promise<void> {
    this.kept.release();
    this.closeKept();
    return this.servers.resumeAll(options);
  }

  /** Takes the descriptors that a predecessor hands over, and owns them. */
  inherit({ entries, standby = false }: Manifest, fds: Int32Array): void {
    this.isStandby ||= standby;
    this.ledger.inherit(entries, fds);
    const turn = this.ledger.claim(ARBITER);
    if (turn) this.arbiter.adopt(dupFd(turn.fd), Number(turn.address));
    this.ledger.release(ARBITER);
    this.#ticketKeys.resume();
    this.#helpersStderr.claim(entries);
  }

  /** Replaces stderr, a pipe that breaks when the predecessor ends (FACTS P1), by the predecessor's own stderr. */
  adoptStderr(): void {
    const entry = this.ledger.claim(STDERR);
    if (!entry) return;
    dup3(entry.fd, this.#env.stderrFd, false);
    this.ledger.release(STDERR);
  }

  /**
   * Takes the listeners that environment variables announce (systemd, Server::Starter, einhorn), and removes the variables.
   * Ignores the announcement in a process with a predecessor, which passes on every listener, or a supervisor, which lends
   * every listener: it is superfluous there, or out of date.
   * @throws ERR_HANDOVER_ACTIVATION a variable is malformed, or names no such listener
   */
  activate({ isSuccessor, isLent }: { readonly isSuccessor: boolean; readonly isLent: boolean }): void {
    const { variables, pid, parentPid } = this.#env;
    if (isSuccessor || isLent) forgetActivation(variables);
    else this.ledger.activate(takeActivation(variables, pid, parentPid));
  }

  /** Reads the stderr pipes of helper processes from now on, because the predecessor that read them has ended. */
  readHelpersStderr(): void {
    this.#helpersStderr.read();
  }

  /** Closes everything. `removePaths`: also removes Unix paths, because no process follows this one. */
  close(options: { readonly removePaths: boolean }): void {
    this.kept.release();
    this.arbiter.close();
    this.ledger.close(options);
  }

  /** Borrows the listener from the supervisor. Undefined without a supervisor, or if the listener is inherited. */
  #borrowing(name: string, endpoint: Endpoint): Promise<void> | undefined {
    return this.ledger.isInherited(name, endpoint) ? undefined : this.lender?.borrow(name, endpoint, this.ledger);
  }

  /** The entry of a listener that the app closed during the handover and opens again at the same address. */
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
    // False: the listener waits to be claimed again, so the supervisor must still hold it.
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
