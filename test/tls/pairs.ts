// Keys and certificates as openssl(1) makes them, and folders they stand in.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { privateFolder } from '../engine/engine.js';

export interface Pair {
  readonly key: string;
  readonly cert: string;
}

const openssl = (args: string[], cwd: string): string =>
  execFileSync('openssl', args, { encoding: 'utf8', cwd, stdio: ['ignore', 'pipe', 'ignore'] });

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A self-signed certificate, valid today. */
export function pairOf(name: string, newKey: readonly string[] = EC): Pair {
  const folder = privateFolder();
  const files = ['-keyout', 'key', '-out', 'cert'];
  openssl(['req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`, ...files], folder);
  return { key: readFileSync(join(folder, 'key'), 'utf8'), cert: readFileSync(join(folder, 'cert'), 'utf8') };
}

const CA_CONFIG = `
[ca]
default_ca = it
[it]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
`;

/** One that is valid from one year to another: `pairBetween('old', 2020, 2021)`. */
export function pairBetween(name: string, from: number, to: number): Pair {
  const folder = privateFolder();
  for (const [file, text] of Object.entries({ config: CA_CONFIG, index: '', serial: '01\n' })) {
    writeFileSync(join(folder, file), text);
  }
  openssl(['req', '-new', ...EC, '-subj', `/CN=${name}`, '-keyout', 'key', '-out', 'request'], folder);
  const dates = ['-startdate', `${from}0101000000Z`, '-enddate', `${to}0101000000Z`];
  const files = ['-keyfile', 'key', '-in', 'request', '-out', 'cert'];
  openssl(['ca', '-batch', '-selfsign', '-notext', '-config', 'config', ...dates, ...files], folder);
  return { key: readFileSync(join(folder, 'key'), 'utf8'), cert: readFileSync(join(folder, 'cert'), 'utf8') };
}

/** The key, encrypted. */
export function encrypted({ key }: Pair, passphrase: string): string {
  const folder = privateFolder();
  writeFileSync(join(folder, 'key'), key);
  return openssl(['pkcs8', '-topk8', '-in', 'key', '-passout', `pass:${passphrase}`], folder);
}

/** Writes the pair into a folder, made if need be. */
export function writePair(folder: string, { key, cert }: Pair): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'key.pem'), key);
  writeFileSync(join(folder, 'cert.pem'), cert);
}
