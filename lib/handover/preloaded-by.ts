// Where `handover/auto` was loaded from by `node --import`, which is said to one process alone; NODE_OPTIONS says it to all that
// are started. A module of its own, and loaded where it is used only: the bundle must keep it beside the chunks.
import { fileURLToPath } from 'node:url';

const AUTO = new URL('../auto.js', import.meta.url);

/** What a process that is started would need in NODE_OPTIONS to load it, too; undefined where no option of this one did. */
export function optionOfAuto(execArgv: readonly string[]): string | undefined {
  const names = ['handover/auto', AUTO.href, fileURLToPath(AUTO)];
  const isOption = execArgv.some((arg, i) => {
    const value = arg === '--import' ? execArgv[i + 1] : arg.startsWith('--import=') ? arg.slice(9) : undefined;
    return value !== undefined && names.includes(value);
  });
  return isOption ? `--import=${AUTO.href}` : undefined;
}
