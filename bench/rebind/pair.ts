// Two processes that take turns behind one address, whose socket both have inherited or each binds anew.
import { rmSync } from 'node:fs';
import { bindListener, closeFd } from 'handover/fd';
import type { Certificate } from '../lib/certificate.js';
import { Told } from '../lib/told.js';

export type Kind = 'TCP' | 'Unix path' | 'HTTPS';
export type Way = 'inherited' | 'bound anew';

/** One change of turns, in milliseconds. */
export interface Change {
  /** From the old one's last accept to the new one's first. */
  readonly gapMs: number;
  /** From the old one's stop to the new one's listening. */
  readonly stopToListeningMs: number;
}

export interface PairOptions {
  readonly kind: Kind;
  readonly way: Way;
  /** Of the Unix path. */
  readonly path: string;
  readonly certificate?: Certificate | undefined;
}

const PROGRAM = new URL('server.mjs', import.meta.url);
const HOST = '127.0.0.1';

type Nanoseconds = string;

export class Pair {
  readonly kind: Kind;
  readonly way: Way;
  readonly #path: string;
  /** The one that accepts first. */
  #processes: readonly [Told, Told];
  #where: object;

  constructor({ kind, way, path, certificate }: PairOptions) {
    this.kind = kind;
    this.way = way;
    this.#path = path;
    const isUnix = kind === 'Unix path';
    this.#where = isUnix ? { path } : { port: 0, host: HOST };
    const { key = '', cert = '' } = kind === 'HTTPS' ? (certificate ?? {}) : {};
    const args = [way, key, cert];
    if (way === 'bound anew') {
      this.#processes = [new Told(PROGRAM, { args }), new Told(PROGRAM, { args })];
      return;
    }
    const fd = bindListener(isUnix ? { path } : { port: 0, host: HOST });
    this.#processes = [new Told(PROGRAM, { args, fd }), new Told(PROGRAM, { args, fd })];
    closeFd(fd);
  }

  /** Resolves when one accepts and the other waits. */
  async start(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.tell()));
    const { address } = await this.#accept();
    if (this.kind !== 'Unix path') this.#where = { port: address.port, host: HOST };
  }

  /** For `handover hammer`. */
  get target(): readonly [url: string, ...args: string[]] {
    if (this.kind === 'Unix path') return ['http://localhost/', '--unix', this.#path];
    const { port } = this.#where as { port: number };
    return [`${this.kind === 'HTTPS' ? 'https' : 'http'}://${HOST}:${port}/`];
  }

  /** One stops, then the other begins; resolves when that one has accepted a connection. */
  async change(): Promise<Change> {
    const [old, next] = this.#processes;
    const { stopped, lastAccept } = await old.tell<Record<'stopped' | 'lastAccept', Nanoseconds>>({ do: 'stop' });
    this.#processes = [next, old];
    const { listening } = await this.#accept();
    const { firstAccept } = await next.tell<{ firstAccept: Nanoseconds }>({ do: 'first' });
    return { gapMs: milliseconds(lastAccept, firstAccept), stopToListeningMs: milliseconds(stopped, listening) };
  }

  async end(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.end()));
    rmSync(this.#path, { force: true });
  }

  #accept(): Promise<{ readonly listening: Nanoseconds; readonly address: { readonly port: number } }> {
    return this.#processes[0].tell({ do: 'accept', where: this.#where });
  }
}

function milliseconds(from: Nanoseconds, to: Nanoseconds): number {
  return Number(BigInt(to) - BigInt(from)) / 1e6;
}
