// Packages that are measured beside this one: in a package.json of their own, so that nobody has to install them.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const INSTALL_PEERS = 'npm install --prefix bench/peers';

export interface Peer {
  readonly isThere: boolean;
  /** A file of the package. */
  path(file: string): string;
}

export function peer(name: string): Peer {
  const file = (path: string): string =>
    fileURLToPath(new URL(`../peers/node_modules/${name}/${path}`, import.meta.url));
  return { isThere: existsSync(file('package.json')), path: file };
}
