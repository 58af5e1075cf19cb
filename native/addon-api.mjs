// Where the headers of node-addon-api are: the development dependency in the repository, or what is packed with a release.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What `npm pack` puts beside native/. */
export const PACKED_HEADERS = fileURLToPath(new URL('../headers/', import.meta.url));

/** Undefined where there are none. */
export function addonApi() {
  try {
    return dirname(createRequire(import.meta.url).resolve('node-addon-api/package.json'));
  } catch {
    return existsSync(PACKED_HEADERS) ? PACKED_HEADERS : undefined;
  }
}
