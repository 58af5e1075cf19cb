// The listeners of all workers: the supervisor binds them once, holds them, and lends a copy to each worker. While they are
// open, the kernel refuses no client: a new connection waits in the queue, whatever the workers do.

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

  /** The state of the shared listeners, as the kernel reports it. */
  get statuses(): readonly ListenerStatus[] {
    return this.all.map((entry) => listenerStatus(entry, this.#asked.get(entry.name)));
  }

  /** The listeners declared on the command line, in their order: LISTEN_FDS passes these on. */
  get declared(): readonly Entry[] {
    return this.#names.map((name) => this.ledger.get(name)).filter((entry) => entry !== undefined);
  }

  get all(): readonly Entry[] {
    return this.ledger.manifest().entries as readonly Entry[];
  }

  /** Takes the descriptors that the supervisor's parent passed, for the declared listeners; see {@link declareRest}. */
  activate(activated: readonly Activated[]): void {
    this.#activated = activated;
    this.ledger.activate(activated);
  }

  /** Declares the passed listeners that no `--listen` names: the parent passed them to be used. */
  declareRest(): void {
    for (const { name, kind, local, fd } of this.#activated) {
      if (kind === 'descriptor' || !local || this.all.some((entry) => entry.fd === fd)) continue;
      const { addressOf, toEndpoint } = kindOf({ kind });
      const endpoint = toEndpoint(addressOf(local));
      this.declare(name === '' || this.ledger.get(name) ? endpoint.canonical : name, endpoint);
    }
  }

  /** Binds, or takes the descriptor inherited under the name. @throws as bind(2) */
  declare(name: string, endpoint: Endpoint): void {
    this.#open(name, endpoint);
    this.#names.push(name);
  }

  /**
   * A duplicate for a worker that wants to listen: of the listener declared under that name, even at another address; or else
   * of the listener at that address (a declared one matches by port where the worker names no host); or of a new one.
   * @throws as bind(2)
   */
  lend(name: string, endpoint: Endpoint): number {
    const declared = this.declared.find((entry) => entry.name === name && isDatagram(entry) === isDatagram(endpoint));
    const known = declared ?? this.#find(name, endpoint) ?? this.declared.find((entry) => isAtPort(entry, endpoint));
    return dupFd((known ?? this.#bind(name, endpoint)).fd);
  }

  /** Closes the listeners that were bound for workers and that no worker uses; removes their Unix paths. */
  closeUnused(used: readonly ListenerUse[]): void {
    const declared = this.declared;
    const isUsed = (entry: Entry): boolean =>
      used.some(({ name, kind, address }) => this.#find(name, { kind, canonical: address }) === entry);
    for (const entry of this.all) if (!declared.includes(entry) && !isUsed(entry)) this.ledger.release(entry.name);
  }

  #find(name: string, address: Address): Entry | undefined {
    // A worker of a newer release may ask for a kind that this supervisor does not know.
    if (!isListenerKind(address.kind)) return undefined;
    const named = [this.ledger.get(name), this.ledger.get(secondName(name, address))];
    const found = named.find((entry) => entry && isSame(entry, address));
    // Port 0 stands for another port under each name.
    if (found || kindOf(address).isOfMany(address.canonical)) return found;
    return this.all.find((entry) => isSame(entry, address));
  }

  /** A worker of an earlier release may hold the name for another address. */
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

/** Whether the endpoint names a port but no host, and the entry has that port. */
function isAtPort({ kind, address }: Entry, endpoint: Address): boolean {
  const [, port] = /:\/\/\*:([1-9]\d*)$/.exec(endpoint.canonical) ?? [];
  return port !== undefined && kind === endpoint.kind && address.endsWith(`:${port}`);
}

/** `0.0.0.0`, `[::]` and `*` are one address for a worker that asks only for a port. */
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

/** The bind options of a worker, as JSON carried them over its link: byte arrays come as base64. */
export function reviveBind(bind: unknown): BindListenerOptions {
  return JSON.parse(JSON.stringify(bind), (_, value: unknown) => {
    const { base64 } = (value ?? {}) as { readonly base64?: unknown };
    return typeof base64 === 'string' ? new Uint8Array(Buffer.from(base64, 'base64')) : value;
  }) as BindListenerOptions;
}
