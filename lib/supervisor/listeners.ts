// The listeners of all workers: bound once, held here, lent to each. While they are open nobody is refused, whatever the
// workers do: who connects waits in the queue.
import { typeError } from '../errors.js';
import { type BindListenerOptions, dupFd } from '../fd/index.js';
import { type ListenAddress, type Place, toPlace } from '../ledger/address.js';
import { type Entry, Ledger } from '../ledger/ledger.js';

export class Listeners {
  readonly #ledger: Ledger;
  readonly #names: string[] = [];

  constructor(ledger: Ledger = new Ledger()) {
    this.#ledger = ledger;
  }

  /** Those declared on the command line, in their order: what LISTEN_FDS passes on. */
  get declared(): readonly Entry[] {
    return this.#names.map((name) => this.#ledger.get(name)).filter((entry) => entry !== undefined);
  }

  get all(): readonly Entry[] {
    return this.#ledger.manifest().entries as readonly Entry[];
  }

  /** Binds, or takes what was inherited under the name. @throws as bind(2) */
  declare(name: string, place: Place): void {
    this.#ledger.listener(name, place);
    this.#names.push(name);
  }

  /**
   * A descriptor of its own for a worker that wants to listen: the listener of that name, or else of that address, or a new
   * one.
   * @throws as bind(2); TypeError the name is another address'
   */
  lend(name: string, place: Place): { readonly fd: number; readonly file: string | undefined } {
    const named = this.#ledger.get(name);
    if (named && !isSame(named, place)) {
      throw typeError('name', `free for ${place.canonical}: the supervisor holds ${named.address} under it`, name);
    }
    const entry = named ?? this.all.find((other) => isSame(other, place)) ?? this.#ledger.listener(name, place);
    return { fd: dupFd(entry.fd), file: entry.file };
  }

  close(): void {
    this.#ledger.close({ removePaths: true });
  }
}

function isSame({ kind, address }: Entry, place: Place): boolean {
  return kind === place.kind && everyHost(address) === everyHost(place.canonical);
}

/** `0.0.0.0` and `*` are one address to whoever asks for a port only. */
function everyHost(canonical: string): string {
  return canonical.replace('://0.0.0.0:', '://*:').replace('://[::]:', '://*:');
}

/** `name=tcp://host:port`, `name=udp://…`, `name=unix:/path`, `name=abstract:name`; the name may be left out. */
export function parseListen(text: string): { readonly name: string; readonly place: Place } {
  const [, name, scheme, rest = ''] =
    /^(?:([^=/:]+)=)?(tcp:\/\/|udp:\/\/|unix:(?:\/\/)?|abstract:)(.+)$/.exec(text) ?? [];
  const address = toAddress(scheme, rest);
  if (!address) {
    throw typeError('--listen', 'NAME=tcp://HOST:PORT, udp://HOST:PORT, unix:PATH or abstract:NAME', text);
  }
  const place = toPlace(address, scheme === 'udp://' ? 'udp' : 'tcp');
  return { name: name ?? place.canonical, place };
}

function toAddress(scheme: string | undefined, rest: string): ListenAddress | undefined {
  if (scheme === 'abstract:') return { abstract: rest };
  if (scheme?.startsWith('unix:')) return { path: rest };
  const [, host = '', port] = /^(\*|\[[^\]]+\]|[^:]*):(\d+)$/.exec(rest) ?? [];
  if (port === undefined || Number(port) > 65_535) return undefined;
  const bare = host.replace(/^\[|\]$/g, '');
  return { port: Number(port), ...(bare !== '' && bare !== '*' && { host: bare }) };
}

/** What a worker asked for, as it came over its link. */
export function reviveBind(bind: unknown): BindListenerOptions {
  return JSON.parse(JSON.stringify(bind), (_, value: unknown) => {
    const { base64 } = (value ?? {}) as { readonly base64?: unknown };
    return typeof base64 === 'string' ? new Uint8Array(Buffer.from(base64, 'base64')) : value;
  }) as BindListenerOptions;
}
