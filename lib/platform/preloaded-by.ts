// Whether `node --import` has loaded `handover/auto`. That option is for one process; NODE_OPTIONS is inherited by all that it
// starts.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../fd/package.js';

/** The NODE_OPTIONS by which a child loads `handover/auto`, too; undefined where no option of this process loaded it. */
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
