// The listeners of all workers: bound once, held here, lent to each. While they are open nobody is refused, whatever the
// workers do: who connects waits in the queue.

import type { Endpoint } from '../endpoints/endpoint.js';
import { isDatagram, isListenerKind, kindOf, LISTEN_SYNTAX, parseEndpoint } from '../endpoints/kinds.js';
import { typeError } from '../errors.js';
import { type BindListenerOptions, dupFd } from '../fd/index.js';
import { DEFAULT_BACKLOG } from '../fd/listener.js';
import { type Asked, listenerStatus } from '../process/status.js';
import type { ListenerStatus } from '../protocol/control-commands.js';
import type { Activated } from '../resources/activated.js';
import { type Entry, Ledger } from '../resources/ledger.js';
import type { ListenerUse } from './worker.js';

export class Listeners {
  readonly ledger: Ledger;
  readonly #names: string[] = [];
  readonly #asked = new Map<string, Asked>();
  #activated: readonly Activated[] = [];

  constructor(ledger: Ledger = new Ledger()) {
    this.ledger = ledger;
  }

  /** What the workers share, as the kernel has it. */
  get statuses(): readonly ListenerStatus[] {
    return this.all.map((entry) => listenerStatus(entry, this.#asked.get(entry.name)));
  }

  /** Those declared on the command line, in their order: what LISTEN_FDS passes on. */
  get declared(): readonly Entry[] {
    return this.#names.map((name) => this.ledger.get(name)).filter((entry) => entry !== undefined);
  }

  get all(): readonly Entry[] {
    return this.ledger.manifest().entries as readonly Entry[];
  }

  /** Takes what whoever started this process passed along, for those that are declared; see {@link declareRest}. */
  activate(activated: readonly Activated[]): void {
    this.#activated = activated;
    this.ledger.activate(activated);
  }

  /** Declares what was passed along and not named: whoever passed it wants it used. */
  declareRest(): void {
    for (const { name, kind, local, fd } of this.#activated) {
      if (kind === 'descriptor' || !local || this.all.some((entry) => entry.fd === fd)) continue;
      const { addressOf, toEndpoint } = kindOf({ kind });
      const endpoint = toEndpoint(addressOf(local));
      this.declare(name === '' || this.ledger.get(name) ? endpoint.canonical : name, endpoint);
    }
  }

  /** Binds, or takes what was inherited under the name. @throws as bind(2) */
  declare(name: string, endpoint: Endpoint): void {
    this.#open(name, endpoint);
    this.#names.push(name);
  }

  /**
   * A descriptor of its own for a worker that wants to listen: the one declared under that name, wherever the worker
   * would have it; or else the one at that address, of the declared ones also where the worker names no host; or a new one.
   * @throws as bind(2)
   */
  lend(name: string, endpoint: Endpoint): number {
    const declared = this.declared.find((entry) => entry.name === name && isDatagram(entry) === isDatagram(endpoint));
    const known = declared ?? this.#find(name, endpoint) ?? this.declared.find((entry) => isAtPort(entry, endpoint));
    return dupFd((known ?? this.#bind(name, endpoint)).fd);
  }

  /** Closes what was bound for workers and none uses; its Unix path goes, too. */
  closeUnused(used: readonly ListenerUse[]): void {
    const declared = this.declared;
    const isUsed = (entry: Entry): boolean =>
      used.some(({ name, kind, address }) => this.#find(name, { kind, canonical: address }) === entry);
    for (const entry of this.all) if (!declared.includes(entry) && !isUsed(entry)) this.ledger.release(entry.name);
  }

  #find(name: string, address: Address): Entry | undefined {
    // A worker of a newer release may have kinds that nothing here is of.
    if (!isListenerKind(address.kind)) return undefined;
    const named = [this.ledger.get(name), this.ledger.get(secondName(name, address))];
    const found = named.find((entry) => entry && isSame(entry, address));
    // Port 0 is another one for each name.
    if (found || kindOf(address).isOfMany(address.canonical)) return found;
    return this.all.find((entry) => isSame(entry, address));
  }

  /** The name may be that of another address: of a release before. */
  #bind(name: string, endpoint: Endpoint): Entry {
    const free = this.ledger.get(name) ? secondName(name, endpoint) : name;
    return this.#open(free, endpoint);
  }

  #open(name: string, endpoint: Endpoint): Entry {
    const { backlog = DEFAULT_BACKLOG, reusePort = false } = endpoint.bind as { backlog?: number; reusePort?: boolean };
    this.#asked.set(name, { backlog: isDatagram(endpoint) ? undefined : backlog, reusePort });
    return this.ledger.listener(name, endpoint);
  }

  close(options: { readonly removePaths: boolean }): void {
    this.ledger.close(options);
  }
}

type Address = { readonly kind: string; readonly canonical: string };

function secondName(name: string, { canonical }: Address): string {
  return `${name} ${canonical}`;
}

function isSame({ kind, address }: Entry, endpoint: Address): boolean {
  return kind === endpoint.kind && everyHost(address) === everyHost(endpoint.canonical);
}

/** Whoever asks for a port of any host. */
function isAtPort({ kind, address }: Entry, endpoint: Address): boolean {
  const [, port] = /:\/\/\*:([1-9]\d*)$/.exec(endpoint.canonical) ?? [];
  return port !== undefined && kind === endpoint.kind && address.endsWith(`:${port}`);
}

/** `0.0.0.0` and `*` are one address to whoever asks for a port only. */
function everyHost(canonical: string): string {
  return canonical.replace('://0.0.0.0:', '://*:').replace('://[::]:', '://*:');
}

/** `name=tcp://host:port`, `name=udp://…`, `name=unix:/path`, `name=abstract:name`; the name may be left out. */
export function parseListen(text: string): { readonly name: string; readonly endpoint: Endpoint } {
  const [, name, address = ''] = /^(?:([^=/:]+)=)?(.+)$/.exec(text) ?? [];
  const endpoint = parseEndpoint(address);
  if (!endpoint) {
    const syntax = `NAME=${LISTEN_SYNTAX.slice(0, -1).join(', ')} or ${LISTEN_SYNTAX.at(-1)}`;
    throw typeError('--listen', syntax, text);
  }
  return { name: name ?? endpoint.canonical, endpoint };
}

/** What a worker asked for, as it came over its link. */
export function reviveBind(bind: unknown): BindListenerOptions {
  return JSON.parse(JSON.stringify(bind), (_, value: unknown) => {
    const { base64 } = (value ?? {}) as { readonly base64?: unknown };
    return typeof base64 === 'string' ? new Uint8Array(Buffer.from(base64, 'base64')) : value;
  }) as BindListenerOptions;
}
