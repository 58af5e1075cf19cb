// The TLS ticket keys of every server that hands over: a client resumes with a ticket of this process in the next one.

import { staysInMemory } from '../fd/descriptors.js';
import { closeFds, sealedBlob } from '../fd/index.js';
import type { DescriptorList } from '../protocol/manifest.js';
import type { Kept } from './kept.js';
import { RESERVED } from './ledger.js';

type TlsTickets = typeof import('../sockets/tls-tickets.js');
type TlsServer = Parameters<TlsTickets['readTickets']>[0];

const TICKETS = `${RESERVED}tickets:`;

export class TicketKeys {
  readonly #kept: Kept;
  readonly #servers = new Map<string, TlsServer>();
  /** Loaded with the first TLS server. */
  #tls: TlsTickets | undefined;

  constructor(kept: Kept) {
    this.#kept = kept;
  }

  /** Adds a server, and gives it the keys that the predecessor has handed over for it so far. */
  async add(name: string, listener: TlsServer): Promise<void> {
    this.#tls ??= await import('../sockets/tls-tickets.js');
    this.#servers.set(name, listener);
    this.resume();
  }

  remove(name: string): void {
    this.#servers.delete(name);
  }

  /** Applies the newest keys that the predecessor has handed over since the last call. */
  resume(): void {
    for (const [name, server] of this.#servers) {
      const bytes = this.#kept.take(`${TICKETS}${name}`);
      if (!bytes) continue;
      this.#tls?.applyTickets(server, bytes);
      bytes.fill(0);
    }
  }

  /** The current keys, for the successor; `release` closes the descriptors. */
  collect(): Required<DescriptorList> {
    const entries: DescriptorList['entries'][number][] = [];
    const fds: number[] = [];
    for (const [name, server] of staysInMemory() ? this.#servers : []) {
      const fd = this.#seal(server);
      if (fd === undefined) continue;
      entries.push({ name: `${TICKETS}${name}`, kind: 'blob', address: '' });
      fds.push(fd);
    }
    return { entries, fds: Int32Array.from(fds), release: () => closeFds(fds.splice(0)) };
  }

  /** Undefined where no descriptor is free: clients then make full handshakes, which is no reason to fail a handover. */
  #seal(server: TlsServer): number | undefined {
    const bytes = this.#tls?.readTickets(server) ?? Buffer.alloc(0);
    try {
      return sealedBlob('handover:tickets', bytes);
    } catch {
      return undefined;
    } finally {
      bytes.fill(0);
    }
  }
}

export function isTlsServer(listener: object): listener is TlsServer {
  return 'getTicketKeys' in listener && 'setTicketKeys' in listener;
}
