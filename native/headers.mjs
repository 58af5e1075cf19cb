// The headers of node-addon-api, in headers/: the repository copies them from the development dependency, a release packs them.
// No other copy is used: a copy that another package hoisted may be of any version.
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HEADERS = fileURLToPath(new URL('../headers/', import.meta.url));
const OWN_COPY = fileURLToPath(new URL('../node_modules/node-addon-api/', import.meta.url));

/** False where there are none. */
export function provideHeaders() {
  if (existsSync(OWN_COPY)) {
    mkdirSync(HEADERS, { recursive: true });
    const files = readdirSync(OWN_COPY).filter((file) => /^(napi.*\.h|LICENSE\.md)$/.test(file));
    for (const file of files) copyFileSync(join(OWN_COPY, file), join(HEADERS, file));
  }
  return existsSync(join(HEADERS, 'napi.h'));
}
