// Where the headers of the running Node are, when it was installed with them: then nothing has to be downloaded.
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export function nodePrefix() {
  const prefixes = [process.execPath, realpathSync(process.execPath)].map((file) => resolve(dirname(file), '..'));
  return prefixes.find((prefix) => existsSync(join(prefix, 'include/node/node_api.h')));
}
