// Finds the headers of the running Node if they are installed with it: then node-gyp need not download them.
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export function nodePrefix() {
  const prefixes = [process.execPath, realpathSync(process.execPath)].map((file) => resolve(dirname(file), '..'));
  return prefixes.find((prefix) => existsSync(join(prefix, 'include/node/node_api.h')));
}
