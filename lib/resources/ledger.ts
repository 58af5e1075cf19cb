// Every descriptor this process owns for the handover, by name. A successor claims what it inherited, or binds; what it
// does not claim is closed and reported.

import type { Bound, Endpoint } from '../endpoints/endpoint.js';
import { isDatagram, isInTheWay, isListenerKind, kindOf } from '../endpoints/kinds.js';
import { HandoverError, hasCode, typeError } from '../errors.js';
import { closeFd, describeFd, dupFd } from '../fd/index.js';
import type { ManifestEntry } from '../protocol/frames.js';
import { type Activated, closeActivated, findActivated } from './activated.js';
import { storeNameOf } from './store-name.js';

/** One descriptor, and how it came here. */
export interface Entry extends ManifestEntry {
  /** Owned by the ledger: borrow it, never close it. */
  readonly fd: number;
  readonly origin: 'inherited' | 'activated' | 'bound';
  /** A copy of another listener's descriptor, for an app that only tries whether the endpoint is free. */
  readonly isStandIn?: boolean;
}

/** Names that begin so are the library's own. */
export const RESERVED = 'handover:';

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  readonly #inherited = new Map<string, Entry>();
  /** What a supervisor passed along; each waits to be claimed by name or address. */
  #activated: Activated[] = [];
  /** Store names of listeners that are no more: the service manager is to let go of them, too. */
  readonly #gone = new Set<string>();
  /** Names of what came in a kind this release does not know: closed, and unclaimed. */
  readonly #unknown = new Set<string>();
  /** Listeners nobody claimed: closed here, still open in the predecessor. */
  readonly #abandoned: Entry[] = [];
  /** Until it is said what this process claims: an inherited listener that is closed can be claimed again. */
  #isClaiming = true;
  /** Whether there is a predecessor that may hold an address it did not hand over. */
  #succeeds = false;

  /**
   * Takes what a predecessor handed over; each waits to be claimed by name. The descriptors are the ledger's now. What is of a
   * kind that only a newer release knows is closed: nothing here could serve it.
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

  /** Takes what a supervisor passed along. The descriptors are the ledger's now, a Unix path never is. */
  activate(activated: readonly Activated[]): void {
    this.#activated.push(...activated);
  }

  /**
   * Claims the inherited listener of this name and address, or an activated one, or binds one. The descriptor stays the
   * ledger's. `isOptional`: one that is bound is for a successor that wants it.
   * @throws TypeError the name is taken; ERR_HANDOVER_ACTIVATION the activated one of this name is no such listener;
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

  /** The name, or the first of `name#2`, `name#3` … that this process has given to nothing. */
  freeName(name: string): string {
    for (let count = 1; ; count++) {
      const free = count === 1 ? name : `${name}#${count}`;
      if (!this.#entries.has(free)) return free;
    }
  }

  /**
   * Where only an inherited listener that waits to be claimed keeps an endpoint from being bound: a copy of it under the name,
   * so that an app that tries the endpoint finds it free. Undefined where nothing inherited does.
   */
  standIn(name: string, endpoint: Endpoint): Entry | undefined {
    const other = this.unclaimedListeners.find((entry) => isInTheWay(entry, endpoint));
    const identity = { name, kind: endpoint.kind, address: endpoint.canonical };
    return other && this.#add({ ...identity, fd: dupFd(other.fd), origin: 'inherited', isStandIn: true });
  }

  /** Claims an inherited or activated blob or descriptor, the newest of that name; undefined where none came. */
  claim(name: string): Entry | undefined {
    const inherited = this.#inherited.get(name);
    const entry = this.#entries.get(name);
    if (!inherited) return this.#claimActivated(name, entry);
    // What this process has put under the name itself is what goes on: the inherited one can be read meanwhile.
    if (entry?.origin === 'bound' && !isListener(entry)) return inherited;
    this.#releaseKept(name);
    return this.#claim(inherited);
  }

  /** Puts a descriptor under a name, to be handed over, in place of what was kept under it. It is the ledger's now. */
  keep(name: string, kind: 'blob' | 'descriptor', fd: number): Entry {
    this.#releaseKept(name);
    return this.#add({ name, kind, address: '', fd, origin: 'bound' });
  }

  /** Whether the listener of this name and address came and waits to be claimed. */
  isInherited(name: string, { kind, canonical }: Endpoint): boolean {
    const inherited = this.#inherited.get(name);
    return inherited?.kind === kind && inherited.address === canonical;
  }

  /** Whether this process has claimed or bound something under the name, or at the address: port 0 is many. */
  holds(name: string, endpoint: Endpoint): boolean {
    const { kind, canonical } = endpoint;
    if (this.#entries.has(name)) return true;
    if (kindOf(endpoint).isOfMany(canonical)) return false;
    return [...this.#entries.values()].some((entry) => entry.kind === kind && entry.address === canonical);
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  /** What is handed over now: every entry of this process, with its descriptor at the same index. */
  manifest(): { readonly entries: readonly ManifestEntry[]; readonly fds: Int32Array } {
    const all = [...this.#entries.values()];
    return { entries: all, fds: Int32Array.from(all, ({ fd }) => fd) };
  }

  /**
   * Names that were inherited or activated and claimed, and listeners that nobody has claimed, or nobody can. The library's own
   * names are left out.
   */
  report(): { readonly claimed: readonly string[]; readonly unclaimed: readonly string[] } {
    const claimed = [...this.#entries.values()].filter((entry) => entry.origin !== 'bound' && isApps(entry));
    const unclaimed = [...[...this.#inherited.values()].filter(isListener), ...this.#activated].filter(isApps);
    const names = [...unclaimed.map(({ name }) => name), ...this.unknown];
    return { claimed: claimed.map(({ name }) => name), unclaimed: names };
  }

  /** Names of what came in a kind this release does not know, and is closed. */
  get unknown(): readonly string[] {
    return [...this.#unknown];
  }

  /** Listeners of the app that a predecessor handed over and nobody has claimed. */
  get unclaimedListeners(): readonly Entry[] {
    return [...this.#inherited.values()].filter((entry) => isListener(entry) && isApps(entry));
  }

  /** Places that were only tried, or so it seemed, and are still held. */
  get standIns(): readonly Entry[] {
    return [...this.#entries.values()].filter(({ isStandIn }) => isStandIn);
  }

  /** The listeners the app has opened. */
  get listeners(): readonly Entry[] {
    return [...this.#entries.values()].filter((entry) => isListener(entry) && isApps(entry));
  }

  /** Closes the listeners nobody claimed, and everything activated that nobody asked for. */
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

  /** What a service manager may keep while no process has it: listeners by store name, and those it is to let go of. */
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

  /** Closes everything nobody claimed, now that the predecessor cannot take it back; its Unix paths go too. */
  closeUnclaimed(): void {
    for (const entry of this.#inherited.values()) this.#closeInherited(entry);
    for (const entry of this.#abandoned.splice(0)) removePath(entry);
  }

  /**
   * Closes one entry: it is not handed over any more. A Unix path that is still its own is removed. A listener of the
   * predecessor, which may take everything back, waits to be claimed as it did before: false.
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

  /** Closes everything. `removePaths`: nobody comes after this process, so its Unix paths go too. */
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

  /** Under the identity the app asked for, so that a successor claims it by that. */
  #adopt(activated: Activated, identity: ManifestEntry): Entry {
    this.#activated = this.#activated.filter((other) => other !== activated);
    // It may have been stored under another name.
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

  /** Frees a name for another blob or descriptor; one of a listener is taken. */
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

/** Node would find out too late, and close some of what it refuses (FACTS N3). */
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
