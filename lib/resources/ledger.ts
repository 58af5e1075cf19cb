// Every descriptor this process owns for the handover, by name. A successor claims an inherited descriptor, or binds; the
// ledger closes and reports the unclaimed ones.

import type { Bound, Endpoint } from '../endpoints/endpoint.js';
import { isDatagram, isInTheWay, isListenerKind, kindOf } from '../endpoints/kinds.js';
import { HandoverError, hasCode, typeError } from '../errors.js';
import { closeFd, describeFd, dupFd } from '../fd/index.js';
import type { ManifestEntry } from '../protocol/frames.js';
import { type Activated, closeActivated, findActivated } from './activated.js';
import { storeNameOf } from './store-name.js';

/** One descriptor, and its origin. */
export interface Entry extends ManifestEntry {
  /** Owned by the ledger: borrow it, never close it. */
  readonly fd: number;
  readonly origin: 'inherited' | 'activated' | 'bound';
  /** A copy of another listener's descriptor, for an app that only checks whether the endpoint is free. */
  readonly isStandIn?: boolean;
}

/** Prefix of the library's own names. */
export const RESERVED = 'handover:';

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  readonly #inherited = new Map<string, Entry>();
  /** Descriptors that the parent process passed; each waits to be claimed by name or address. */
  #activated: Activated[] = [];
  /** Store names of closed listeners: the service manager must close its copies, too. */
  readonly #gone = new Set<string>();
  /** Names of inherited entries of an unknown kind: closed, and reported as unclaimed. */
  readonly #unknown = new Set<string>();
  /** Unclaimed listeners: closed here, still open in the predecessor. */
  readonly #abandoned: Entry[] = [];
  /** True until this process has reported its claims: an inherited listener that the app closes can be claimed again. */
  #isClaiming = true;
  /** Whether this process has a predecessor, which may hold an address it did not hand over. */
  #succeeds = false;

  /**
   * Takes the entries of a predecessor; each waits to be claimed by name. Owns the descriptors. Closes an entry of a kind that
   * only a newer release knows: this process could not serve it.
   */
  inherit(entries: readonly ManifestEntry[], fds: Int32Array): void {
    this.#succeeds = true;
    for (const [index, entry] of entries.entries()) {
      const fd = fds[index] ?? -1;
      const before = this.#inherited.get(entry.name);
      if (before) this.#closeInherited(before);
      if (isKnown(entry)) this.#inherited.set(entry.name, { ...entry, fd, origin: 'inherited' });
      else this.#closeUnknown(entry, fd);
    }
  }

  /** Takes the descriptors that the parent process passed. Owns them, but never their Unix paths. */
  activate(activated: readonly Activated[]): void {
    this.#activated.push(...activated);
  }

  /**
   * Claims the inherited listener of this name and address, or an activated one, or binds one. The ledger keeps the
   * descriptor. `isOptional`: a successor need not claim it.
   * @throws TypeError the name is taken; ERR_HANDOVER_ACTIVATION the activated descriptor of this name is no such listener;
   *   ERR_HANDOVER_ADDRESS_IN_USE the predecessor holds the address and did not hand it over; the system's error where
   *   bind(2) or listen(2) fail
   */
  listener(name: string, endpoint: Endpoint, isOptional: boolean = false): Entry {
    this.#expectFree(name);
    const inherited = this.#inherited.get(name);
    if (inherited && inherited.kind === endpoint.kind && inherited.address === endpoint.canonical)
      return this.#claim({ ...inherited, isOptional: isOptional || undefined });
    const identity = { name, kind: endpoint.kind, address: endpoint.canonical, ...(isOptional && { isOptional }) };
    const activated = findActivated(this.#activated, name, endpoint);
    if (activated) return this.#adopt(activated, identity);
    return this.#add({ ...identity, ...this.#bind(name, endpoint), origin: 'bound' });
  }

  /** The first free name of `name`, `name#2`, `name#3` … in this process. */
  freeName(name: string): string {
    for (let count = 1; ; count++) {
      const free = count === 1 ? name : `${name}#${count}`;
      if (!this.#entries.has(free)) return free;
    }
  }

  /**
   * Adds a copy of an unclaimed inherited listener that occupies the endpoint, under the name: an app that checks the endpoint
   * then finds it free. Undefined where no such listener is in the way.
   */
  standIn(name: string, endpoint: Endpoint): Entry | undefined {
    const other = this.unclaimedListeners.find((entry) => isInTheWay(entry, endpoint));
    const identity = { name, kind: endpoint.kind, address: endpoint.canonical };
    return other && this.#add({ ...identity, fd: dupFd(other.fd), origin: 'inherited', isStandIn: true });
  }

  /** Claims the newest inherited or activated blob or descriptor of that name; undefined where there is none. */
  claim(name: string): Entry | undefined {
    const inherited = this.#inherited.get(name);
    const entry = this.#entries.get(name);
    if (!inherited) return this.#claimActivated(name, entry);
    // The value that this process kept under the name goes to the successor; the inherited one stays readable.
    if (entry?.origin === 'bound' && !isListener(entry)) return inherited;
    this.#releaseKept(name);
    return this.#claim(inherited);
  }

  /** Keeps a descriptor under a name for the handover, in place of an earlier value. Owns the descriptor. */
  keep(name: string, kind: 'blob' | 'descriptor', fd: number): Entry {
    this.#releaseKept(name);
    return this.#add({ name, kind, address: '', fd, origin: 'bound' });
  }

  /** Whether an inherited listener of this name and address waits to be claimed. */
  isInherited(name: string, { kind, canonical }: Endpoint): boolean {
    const inherited = this.#inherited.get(name);
    return inherited?.kind === kind && inherited.address === canonical;
  }

  /** Whether this process holds the name, or the address; port 0 names no single address. */
  holds(name: string, endpoint: Endpoint): boolean {
    const { kind, canonical } = endpoint;
    if (this.#entries.has(name)) return true;
    if (kindOf(endpoint).isOfMany(canonical)) return false;
    return [...this.#entries.values()].some((entry) => entry.kind === kind && entry.address === canonical);
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  /** The entries that a handover would pass on now; each descriptor has the index of its entry. */
  manifest(): { readonly entries: readonly ManifestEntry[]; readonly fds: Int32Array } {
    const all = [...this.#entries.values()];
    return { entries: all, fds: Int32Array.from(all, ({ fd }) => fd) };
  }

  /**
   * Names of the claimed inherited and activated entries, and of the listeners that the app has not claimed or cannot claim.
   * Leaves out the library's own names.
   */
  report(): { readonly claimed: readonly string[]; readonly unclaimed: readonly string[] } {
    const claimed = [...this.#entries.values()].filter((entry) => entry.origin !== 'bound' && isApps(entry));
    const unclaimed = [...[...this.#inherited.values()].filter(isListener), ...this.#activated].filter(isApps);
    const names = [...unclaimed.map(({ name }) => name), ...this.unknown];
    return { claimed: claimed.map(({ name }) => name), unclaimed: names };
  }

  /** Names of the inherited entries of an unknown kind, which are closed. */
  get unknown(): readonly string[] {
    return [...this.#unknown];
  }

  /** Inherited listeners that the app has not claimed. */
  get unclaimedListeners(): readonly Entry[] {
    return [...this.#inherited.values()].filter((entry) => isListener(entry) && isApps(entry));
  }

  /** Endpoints that the app still holds by a stand-in: it seemed to be only checking them. */
  get standIns(): readonly Entry[] {
    return [...this.#entries.values()].filter(({ isStandIn }) => isStandIn);
  }

  /** The listeners the app has opened. */
  get listeners(): readonly Entry[] {
    return [...this.#entries.values()].filter((entry) => isListener(entry) && isApps(entry));
  }

  /** Closes the unclaimed listeners, and the activated descriptors that the app did not ask for. */
  closeUnclaimedListeners(): void {
    this.#isClaiming = false;
    for (const entry of this.#inherited.values()) {
      if (!isListener(entry)) continue;
      this.#closeInherited(entry);
      this.#abandoned.push(entry);
      this.#forget(storeNameOf(entry));
    }
    for (const { stored } of this.#activated) this.#forget(stored?.storeName);
    closeActivated(this.#activated.splice(0));
  }

  /** For the service manager's store: the listeners to keep, by store name, and the names to let go of. */
  storable(): { readonly kept: ReadonlyMap<string, number>; readonly gone: readonly string[] } {
    const kept = new Map<string, number>();
    for (const entry of this.#entries.values()) {
      const storeName = isListener(entry) && !entry.name.startsWith(RESERVED) ? storeNameOf(entry) : undefined;
      if (storeName !== undefined) kept.set(storeName, entry.fd);
    }
    const gone = [...this.#gone].filter((storeName) => !kept.has(storeName));
    this.#gone.clear();
    return { kept, gone };
  }

  /** Closes everything unclaimed and removes its Unix paths. The predecessor must be unable to take it back. */
  closeUnclaimed(): void {
    for (const entry of this.#inherited.values()) this.#closeInherited(entry);
    for (const entry of this.#abandoned.splice(0)) removePath(entry);
  }

  /**
   * Closes one entry, so that it is not handed over any more, and removes its Unix path unless another file took it. False: an
   * inherited listener, while the predecessor may take everything back, stays open and waits to be claimed again.
   */
  release(name: string): boolean {
    const entry = this.#entries.get(name);
    if (!entry) return true;
    this.#entries.delete(name);
    if (this.#isClaiming && entry.origin === 'inherited' && isListener(entry) && !entry.isStandIn) {
      this.#inherited.set(name, entry);
      return false;
    }
    closeFd(entry.fd);
    removePath(entry);
    if (isListener(entry)) this.#forget(storeNameOf(entry));
    return true;
  }

  /** Closes everything. `removePaths`: no process follows this one, so its Unix paths are removed. */
  close({ removePaths }: { readonly removePaths: boolean }): void {
    for (const entry of this.#inherited.values()) this.#closeInherited(entry);
    for (const entry of this.#entries.values()) {
      closeFd(entry.fd);
      if (removePaths) removePath(entry);
    }
    this.#entries.clear();
    closeActivated(this.#activated.splice(0));
  }

  #forget(storeName: string | undefined): void {
    if (storeName !== undefined) this.#gone.add(storeName);
  }

  /** Adds it under the identity that the app asked for, by which a successor claims it. */
  #adopt(activated: Activated, identity: ManifestEntry): Entry {
    this.#activated = this.#activated.filter((other) => other !== activated);
    // The store may have it under another name.
    this.#forget(activated.stored?.storeName);
    return this.#add({ ...identity, fd: activated.fd, origin: 'activated' });
  }

  #claimActivated(name: string, entry: Entry | undefined): Entry | undefined {
    if (entry) return entry.origin === 'bound' ? undefined : entry;
    const activated = this.#activated.find((one) => one.name === name && one.kind === 'descriptor');
    return activated && this.#adopt(activated, { name, kind: 'descriptor', address: '' });
  }

  #closeUnknown(entry: ManifestEntry, fd: number): void {
    closeFd(fd);
    if (isApps(entry)) this.#unknown.add(entry.name);
  }

  #closeInherited({ name, fd }: Entry): void {
    closeFd(fd);
    this.#inherited.delete(name);
  }

  /** Frees a name for another blob or descriptor. @throws TypeError a listener has the name */
  #releaseKept(name: string): void {
    const entry = this.#entries.get(name);
    if (entry && isListener(entry)) this.#expectFree(name);
    this.release(name);
  }

  #expectFree(name: string): void {
    if (this.#entries.has(name))
      throw typeError('name', 'not in use by another listener or value of this process', name);
  }

  #add(entry: Entry): Entry {
    this.#entries.set(entry.name, entry);
    return entry;
  }

  #claim(entry: Entry): Entry {
    if (isListener(entry)) expectListener(entry);
    this.#inherited.delete(entry.name);
    return this.#add(entry);
  }

  #bind(name: string, endpoint: Endpoint): Bound {
    try {
      return kindOf(endpoint).bind(endpoint);
    } catch (error) {
      throw this.#succeeds && hasCode(error, 'EADDRINUSE') ? this.#explainInUse(name, endpoint, error) : error;
    }
  }

  #explainInUse(name: string, endpoint: Endpoint, cause: unknown): HandoverError {
    const other = [...this.#inherited.values()].find(({ address }) => address === endpoint.canonical);
    const why = other
      ? `the predecessor handed it over under the name "${other.name}": use that name`
      : 'the predecessor or a stranger holds it, and it was not handed over: let the predecessor open it with handover.listen() too';
    const message = `cannot bind ${endpoint.canonical} for "${name}": ${why}`;
    return new HandoverError('ERR_HANDOVER_ADDRESS_IN_USE', message, { cause, phase: 'PREPARE', stillServing: true });
  }
}

function isApps({ name }: { readonly name: string }): boolean {
  return !name.startsWith(RESERVED);
}

function isKnown({ kind }: ManifestEntry): boolean {
  return isListenerKind(kind) || kind === 'blob' || kind === 'descriptor';
}

function isListener({ kind }: Entry): boolean {
  return isListenerKind(kind);
}

/** Checks the descriptor before Node does: Node notices too late, and closes some of the descriptors it refuses (FACTS N3). */
function expectListener(entry: Entry): void {
  const { name, kind, fd } = entry;
  const { socket } = describeFd(fd);
  const isRight = isDatagram(entry) ? socket?.type === 'dgram' : socket?.type === 'stream' && socket.listening;
  if (isRight) return;
  throw new HandoverError('ERR_HANDOVER_PROTOCOL', `the descriptor handed over as "${name}" is no ${kind} listener`, {
    stillServing: true,
  });
}

function removePath(entry: Entry): void {
  if (isListener(entry) && entry.file) kindOf(entry).removeFile?.(entry.address, entry.file);
}
