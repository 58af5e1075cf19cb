// Replaces key and certificate of a running TLS server: checks them first, then uses them for every new handshake.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type Server } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { HandoverError, toError, typeError } from '../../errors.js';
import { publish } from '../../events.js';
import { expectFlag, expectOptions, expectString } from '../../fd/arguments.js';
import { authoritiesOf, hasOwnTicketKeys, secureOptionsOf } from '../../sockets/tls-server.js';
import { FollowedFiles } from './files.js';

/** PEM: text or bytes. */
export type Pem = string | Uint8Array;

/** Key and certificate in memory. */
export interface CertificatePair {
  /** The private key, PEM. */
  readonly key: Pem;
  /** The certificate, PEM, followed by its intermediate certificates. */
  readonly cert: Pem;
  /** Authorities for client certificates, PEM. @default the server's present ones */
  readonly ca?: Pem | readonly Pem[];
  /** Passphrase of an encrypted key. */
  readonly passphrase?: string;
  readonly watch?: false;
}

/** Key and certificate in files that are watched. */
export interface CertificateFiles {
  /** Path of the private key, PEM. */
  readonly key: string | URL;
  /** Path of the certificate, PEM, followed by its intermediate certificates. */
  readonly cert: string | URL;
  /** Path of the authorities for client certificates, PEM. @default the server's present ones */
  readonly ca?: string | URL;
  /** Passphrase of an encrypted key. */
  readonly passphrase?: string;
  readonly watch: true;
}

/** The certificate that a server has from `reloadCertificates`. The caller closes it to end the watch. */
export interface Certificates extends Disposable {
  /** The certificate in use. */
  readonly certificate: X509Certificate;
  /** Ends the watch; the certificate in use stays. */
  close(): void;
}

interface Material {
  readonly key: Pem;
  readonly cert: Pem;
  readonly ca: Pem | readonly Pem[] | undefined;
}

interface Paths {
  readonly key: string;
  readonly cert: string;
  readonly ca: string | undefined;
}

const inUse = new WeakMap<Server, Certificates>();

/**
 * Replaces the certificate of a running `tls`, `https` or secure `http2` server for new handshakes, without a restart;
 * open connections are not touched.
 *
 * The key and the certificate must belong together, and the certificate must be in date; otherwise the pair in use stays.
 * Ticket keys and session id context stay, too, so that clients still resume (Node's own `setSecureContext` drops them).
 * Only where the server asks for client certificates and `ca` changes, the ticket keys are renewed, because a resumed
 * session is not verified again. All other TLS options of the server stay. Contexts of `addContext` and `SNICallback` are
 * not touched.
 *
 * With `watch: true`, `key`, `cert` and `ca` are paths, which are followed through renames and symlinks (certbot,
 * Kubernetes secrets): after a change all are read again, as one pair. A pair that cannot be used is published as
 * `handover:certificates-refused`, and the next change is another try. The watch ends with `close()`, with the server's
 * 'close', or with the next call for the same server, and does not keep the process alive.
 *
 * @throws ERR_HANDOVER_CERTIFICATE key and certificate do not belong together, are not in date, or are not PEM
 * @throws ENOENT, EACCES … as open(2), for `watch: true`; TypeError a bad or unknown option
 * @example
 * ```ts
 * import { createServer } from 'node:https';
 * import { reloadCertificates } from 'handover/tls';
 * const server = createServer();
 * using certificates = reloadCertificates(server, {
 *   key: '/etc/letsencrypt/live/example.org/privkey.pem',
 *   cert: '/etc/letsencrypt/live/example.org/fullchain.pem',
 *   watch: true,
 * });
 * ```
 */
export function reloadCertificates(server: Server, options: CertificatePair | CertificateFiles): Certificates {
  if (typeof (server as Partial<Server> | undefined)?.setSecureContext !== 'function') {
    throw typeError('server', 'a server of tls, https or http2 with TLS', server);
  }
  const given = expectOptions('options', options, ['key', 'cert', 'ca', 'passphrase', 'watch']);
  const passphrase = given.passphrase === undefined ? undefined : expectString('options.passphrase', given.passphrase);
  const reloading = expectFlag('options.watch', given.watch)
    ? new Following(server, expectPaths(given), passphrase)
    : swap(server, expectMaterial(given), passphrase);
  inUse.get(server)?.close();
  inUse.set(server, reloading);
  return reloading;
}

function swap(server: Server, material: Material, passphrase: string | undefined): Certificates {
  const certificate = apply(server, material, passphrase);
  return { certificate, close() {}, [Symbol.dispose]() {} };
}

/** One server, and the watched files of its certificate. */
class Following implements Certificates {
  readonly #server: Server;
  readonly #paths: Paths;
  readonly #passphrase: string | undefined;
  readonly #files: FollowedFiles;
  #certificate: X509Certificate;
  #material: Material;
  #reading: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(server: Server, paths: Paths, passphrase: string | undefined) {
    this.#server = server;
    this.#paths = paths;
    this.#passphrase = passphrase;
    const { key, cert, ca } = paths;
    // The watch begins before the read, so that a change in between is noticed.
    const all = [key, cert, ...(ca === undefined ? [] : [ca])];
    this.#files = new FollowedFiles(all, () => {
      this.#reading = this.#reading.then(() => this.#read());
    });
    try {
      this.#material = { key: readFileSync(key), cert: readFileSync(cert), ca: ca && readFileSync(ca) };
      this.#certificate = apply(server, this.#material, passphrase);
    } catch (error) {
      this.#files.close();
      throw error;
    }
    server.once('close', this.#onClose);
  }

  get certificate(): X509Certificate {
    return this.#certificate;
  }

  readonly #onClose = (): void => this.close();

  close(): void {
    this.#isClosed = true;
    this.#files.close();
    this.#server.off('close', this.#onClose);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #read(): Promise<void> {
    const { key, cert, ca } = this.#paths;
    try {
      const [newKey, newCert, newCa] = await Promise.all([readFile(key), readFile(cert), ca && readFile(ca)]);
      const material = { key: newKey, cert: newCert, ca: newCa };
      if (this.#isClosed || isSame(material, this.#material)) return;
      this.#certificate = apply(this.#server, material, this.#passphrase);
      this.#material = material;
    } catch (error) {
      if (!this.#isClosed) publish('certificates-refused', { key, cert, error: error as Error });
    }
  }
}

/** Checks everything before it uses any of it. */
function apply(server: Server, { key, cert, ca }: Material, passphrase: string | undefined): X509Certificate {
  const certificate = expectUsable({ key, cert, ca }, passphrase);
  const authorities = ca ?? authoritiesOf(server).ca;
  const secureOptions = {
    ...secureOptionsOf(server),
    key: toNode(key),
    cert: toNode(cert),
    ...(authorities !== undefined && { ca: [authorities].flat().map(toNode) }),
    ...(passphrase !== undefined && { passphrase }),
  };
  refusing('OpenSSL refuses the key and the certificate', () => createSecureContext(secureOptions));
  const { verifies, ca: former } = authoritiesOf(server);
  const ticketKeys = server.getTicketKeys();
  server.setSecureContext(secureOptions);
  // A resumed session is not verified again. Ticket keys that the app has set are the app's to renew.
  const maySessionsStay = !verifies || hasOwnTicketKeys(server) || toText(authorities) === toText(former);
  if (maySessionsStay) server.setTicketKeys(ticketKeys);
  ticketKeys.fill(0);
  const { subject, fingerprint256, validTo } = certificate;
  publish('certificates', { subject, fingerprint256, validTo });
  return certificate;
}

/** @throws ERR_HANDOVER_CERTIFICATE not PEM, a key of another certificate, or a certificate that is not in date */
function expectUsable({ key, cert, ca }: Material, passphrase: string | undefined): X509Certificate {
  const certificate = refusing('the certificate is not PEM', () => firstOf(cert));
  for (const one of ca === undefined ? [] : [ca].flat()) refusing('the authorities are not PEM', () => firstOf(one));
  const privateKey = refusing('the key is not PEM, or needs another passphrase', () =>
    createPrivateKey({ key: toNode(key), ...(passphrase !== undefined && { passphrase }) }),
  );
  const { validFrom, validTo } = certificate;
  const now = Date.now();
  if (!certificate.checkPrivateKey(privateKey)) throw refusal('the key does not belong to the certificate');
  if (now < Date.parse(validFrom)) throw refusal(`the certificate is not valid before ${validFrom}`);
  if (now > Date.parse(validTo)) throw refusal(`the certificate was valid until ${validTo}`);
  return certificate;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/** The first of one or more certificates. Checks that all are whole, because Node skips authorities that it cannot read. */
function firstOf(pem: Pem): X509Certificate {
  const text = toText(pem);
  const blocks = [...text.matchAll(BLOCK)];
  const certificates = blocks
    .filter(([, kind]) => kind?.endsWith('CERTIFICATE'))
    .map(([block]) => new X509Certificate(block));
  const [first] = certificates;
  if (first && blocks.length === text.split('-----BEGIN ').length - 1) return first;
  throw new Error(first ? 'the PEM text is cut short' : 'the PEM text holds no certificate');
}

function refusing<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw refusal(`${what}: ${toError(cause).message}`, cause);
  }
}

function refusal(message: string, cause?: unknown): HandoverError {
  const details = { stillServing: true, ...(cause !== undefined && { cause }) };
  return new HandoverError('ERR_HANDOVER_CERTIFICATE', `${message}; the pair in use stays`, details);
}

function expectMaterial({ key, cert, ca }: { key?: unknown; cert?: unknown; ca?: unknown }): Material {
  const authorities = Array.isArray(ca) ? ca.map((one) => expectPem('options.ca', one)) : undefined;
  return {
    key: expectPem('options.key', key),
    cert: expectPem('options.cert', cert),
    ca: authorities ?? (ca === undefined ? undefined : expectPem('options.ca', ca)),
  };
}

function expectPem(name: string, value: unknown): Pem {
  const isText = typeof value === 'string' && value.includes('-----BEGIN ');
  if (isText || value instanceof Uint8Array) return value;
  // Names the type only: the value may be a key, which must not be in an error.
  throw typeError(name, 'PEM text or bytes (a path is for watch: true)', typeof value);
}

function expectPaths({ key, cert, ca }: { key?: unknown; cert?: unknown; ca?: unknown }): Paths {
  return {
    key: expectPath('options.key', key),
    cert: expectPath('options.cert', cert),
    ca: ca === undefined ? undefined : expectPath('options.ca', ca),
  };
}

function expectPath(name: string, value: unknown): string {
  if (value instanceof URL && value.protocol === 'file:') return fileURLToPath(value);
  if (typeof value === 'string' && value !== '' && !value.includes('-----BEGIN ')) return value;
  throw typeError(name, 'a path or a file: URL, because of watch: true', typeof value);
}

function toNode(pem: Pem): string | Buffer {
  return typeof pem === 'string' ? pem : Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength);
}

function toText(pem: Pem | readonly Pem[] | undefined): string {
  return pem === undefined
    ? ''
    : [pem]
        .flat()
        .map((one) => toNode(one).toString())
        .join('\n');
}

function isSame(one: Material, other: Material): boolean {
  return (['key', 'cert', 'ca'] as const).every((name) => toText(one[name]) === toText(other[name]));
}
