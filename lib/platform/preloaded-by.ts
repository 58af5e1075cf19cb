// Where `handover/auto` was loaded from by `node --import`, which is said to one process alone; NODE_OPTIONS says it to all that
// are started.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../fd/package.js';

/** What a process that is started would need in NODE_OPTIONS to load it, too; undefined where no option of this one did. */
export function optionOfAuto(execArgv: readonly string[]): string | undefined {
  const root = packageRoot();
  if (root === undefined) return undefined;
  const file = join(root, 'dist/auto.js');
  const { href } = pathToFileURL(file);
  const names = ['handover/auto', href, file];
  const isOption = execArgv.some((arg, i) => {
    const value = arg === '--import' ? execArgv[i + 1] : arg.startsWith('--import=') ? arg.slice(9) : undefined;
    return value !== undefined && names.includes(value);
  });
  return isOption ? `--import=${href}` : undefined;
}
