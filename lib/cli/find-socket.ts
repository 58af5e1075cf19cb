// Where the process to ask is: said, or the only control socket in the usual places.
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CommandError, EXIT } from '../terminal/exit-codes.js';

/** By the option, the environment, or the usual directories below `root`. @throws CommandError none, or more than one */
export function controlPath(option: string | undefined, variables: NodeJS.ProcessEnv, root: string = '/'): string {
  const said = option ?? (variables.HANDOVER_CONTROL || undefined);
  if (said !== undefined) return resolve(said);
  const folders = usualFolders(variables, root);
  const found = folders.flatMap(socketsIn);
  const [only, ...others] = found;
  if (only === undefined) {
    throw new CommandError(
      EXIT.nobody,
      `no control socket in ${folders.join(' or ')}: open the handover with the option control, and say --control PATH`,
    );
  }
  if (others.length === 0) return only;
  throw new CommandError(EXIT.usage, `${found.length} control sockets, say --control PATH: ${found.join(', ')}`);
}

function usualFolders({ XDG_RUNTIME_DIR }: NodeJS.ProcessEnv, root: string): string[] {
  const folders = XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, 'handover')] : [];
  return [...folders, '/run/handover'].map((folder) => join(root, folder));
}

/** A takeover socket may live there, too: it is told by its name, because dialling it would begin a handover. */
function socketsIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.sock') && !name.endsWith('takeover.sock'))
      .sort()
      .map((name) => join(folder, name))
      .filter((path) => statSync(path).isSocket());
  } catch {
    return [];
  }
}
