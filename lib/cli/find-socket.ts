// Finds the control socket: the one that the user names, or the only one in the usual directories.
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CommandError, EXIT } from '../terminal/exit-codes.js';

/**
 * The path from the option, from HANDOVER_CONTROL, or from the usual directories below `root`.
 * @throws CommandError the directories have no control socket, or several
 */
export function controlPath(option: string | undefined, variables: NodeJS.ProcessEnv, root: string = '/'): string {
  const said = option ?? (variables.HANDOVER_CONTROL || undefined);
  if (said !== undefined) return resolve(said);
  const folders = usualFolders(variables, root);
  const found = folders.flatMap(socketsIn);
  const [only, ...others] = found;
  if (only === undefined) {
    throw new CommandError(
      EXIT.nobody,
      `no control socket in ${folders.join(' or ')}: open the handover with the option control, and give --control PATH`,
    );
  }
  if (others.length === 0) return only;
  throw new CommandError(
    EXIT.usage,
    `there are ${found.length} control sockets, give one as --control PATH: ${found.join(', ')}`,
  );
}

function usualFolders({ XDG_RUNTIME_DIR }: NodeJS.ProcessEnv, root: string): string[] {
  const folders = XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, 'handover')] : [];
  return [...folders, '/run/handover'].map((folder) => join(root, folder));
}

/** The sockets in a directory, without a takeover socket: it is known by its name, because dialling it begins a handover. */
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
