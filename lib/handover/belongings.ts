// What this process holds and hands over: the ledger, the servers that listen on its descriptors, and what the app keeps.
import type { Manifest } from '../channel/wire.js';
import { publish } from '../events.js';
import { dup3, dupFd } from '../fd/index.js';
import { Ledger, RESERVED } from '../ledger/ledger.js';
import type { Env } from './env.js';
import { Kept } from './kept.js';
import { addressOf, expectMigratable, manage, resolvePlace } from './listening.js';
import type { DescriptorList } from './manifest.js';
import { checkListenOptions } from './options.js';
import { Servers } from './servers.js';
import { TAKEOVER } from './takeover.js';
import type { Listener, Listening, ListenOptions } from './types.js';

const STDERR = `${RESERVED}stderr`;

export class Belongings {
  readonly ledger: Ledger = new Ledger();
  readonly servers: Servers = new Servers();
  readonly kept: Kept = new Kept(this.ledger);
  /** Whether the predecessor wants nothing accepted before COMMIT. */
  isStandby = false;
  readonly #env: Env;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Claims or binds, and has the server accept from `servers.acceptAll()` on. */
  async listen(listener: Listener, options: ListenOptions): Promise<Listening> {
    const { backlog, name: given, migrate, ...address } = checkListenOptions(options);
    expectMigratable(listener, migrate);
    const place = await resolvePlace(listener, { ...address, ...(backlog !== undefined && { backlog }) });
    const name = given ?? place.canonical;
    const entry = this.ledger.listener(name, place);
    const managed = manage(listener, name, backlog, () => this.#release(name), migrate);
    publish('listen', { name, address: entry.address, origin: entry.origin });
    await this.servers.add(name, managed, () => ({ fd: dupFd(entry.fd) }));
    return { name, address: addressOf(entry.fd), origin: entry.origin };
  }

  /** What a successor needs to load; `stderr`: it shares this process' stdio. The takeover socket follows at COMMIT. */
  early({ stderr }: { readonly stderr: boolean }): DescriptorList {
    const { entries, fds } = this.ledger.manifest();
    const early = entries
      .map((entry, i) => ({ entry, fd: fds[i] ?? -1 }))
      .filter(({ entry }) => entry.name !== TAKEOVER);
    if (stderr) early.push({ entry: { name: STDERR, kind: 'descriptor', address: '' }, fd: this.#env.stderrFd });
    return { entries: early.map(({ entry }) => entry), fds: Int32Array.from(early, ({ fd }) => fd) };
  }

  /** Everything, the app's state as it is now. */
  async all(): Promise<DescriptorList> {
    const state = await this.kept.collect();
    const { entries, fds } = this.ledger.manifest();
    return { entries: [...entries, ...state.entries], fds: Int32Array.of(...fds, ...state.fds) };
  }

  /** Takes descriptors that a predecessor hands over. */
  inherit({ entries, standby = false }: Manifest, fds: Int32Array): void {
    this.isStandby ||= standby;
    this.ledger.inherit(entries, fds);
  }

  /** stderr is a pipe into the predecessor, which ends: from here on it is what the predecessor writes to (FACTS P1). */
  adoptStderr(): void {
    const entry = this.ledger.claim(STDERR);
    if (!entry) return;
    dup3(entry.fd, this.#env.stderrFd, false);
    this.ledger.release(STDERR);
  }

  /** Closes everything; `removePaths`: nobody comes after this process. */
  close(options: { readonly removePaths: boolean }): void {
    this.kept.release();
    this.ledger.close(options);
  }

  #release(name: string): void {
    this.servers.remove(name);
    this.ledger.release(name);
  }
}
