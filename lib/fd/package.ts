// Where this package is on disk: its addon, and what Node preloads, are files there. A bundle holds none of them; the package
// may be installed beside it.
import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Of this package, as in package.json, which a bundle does not hold. */
export const VERSION = '0.1.0';

interface Installation {
  /** Undefined where the package is not installed, or in another version: then this code is in a bundle. */
  readonly root: string | undefined;
  /** Where the package was looked for and not found; the message names the way out. */
  readonly lack: string;
}

let installation: Installation | undefined;

/** The folder of this package; undefined for a bundle that has no such package of the same version beside it. */
export function packageRoot(): string | undefined {
  installation ??= findPackage();
  return installation.root;
}

/** The message for a user without a {@link packageRoot}. */
export function packageLack(): string {
  installation ??= findPackage();
  return installation.lack;
}

/** A file of this package. @throws Error where there is none: see {@link packageRoot} */
export function packageFile(path: string): string {
  const root = packageRoot();
  if (root === undefined) throw new Error(packageLack());
  return join(root, path);
}

function findPackage(): Installation {
  const files = ownFiles();
  // This file is two folders deep in lib/ and in dist/, and so are the chunks it is built into.
  const own = files.map((file) => join(file, '../../..'));
  const others = new Set<string>();
  for (const root of [...own, ...files.flatMap(installedFor)]) {
    const version = versionIn(root);
    if (version === VERSION) return { root, lack: '' };
    if (version !== undefined) others.add(version);
  }
  const beside = others.size > 0 ? `has ${[...others].join(', ')} beside it` : 'has no such package beside it';
  const wayOut = 'mark handover external (esbuild: --external:handover), and install it where the bundle runs';
  return { root: undefined, lack: `this is a bundle of handover ${VERSION} and ${beside}: ${wayOut}` };
}

/**
 * This file, or the bundle it became part of. Of the names for it a bundler may leave out the first, or have written down the
 * path of the machine that built the bundle; there is no second in an ES module; the third is the program, which need not be
 * the bundle.
 */
function ownFiles(): string[] {
  const url: unknown = import.meta.url;
  const names = [
    typeof url === 'string' && url.startsWith('file:') ? fileURLToPath(url) : undefined,
    typeof __filename === 'string' ? __filename : undefined,
    process.argv[1],
  ];
  return names.filter((name) => name !== undefined && isAbsolute(name)) as string[];
}

/**
 * `require` as a file at that path has it. Not by an import: bundlers follow `createRequire` (webpack puts an error in the place
 * of what it cannot find), and would take along what must stay a file.
 */
export function requireFrom(file: string): NodeJS.Require {
  return process.getBuiltinModule('node:module').createRequire(file);
}

/** The package as the code in that file would import it. */
function installedFor(file: string): string[] {
  try {
    return [join(requireFrom(file).resolve('handover/package.json'), '..')];
  } catch {
    return [];
  }
}

/** Undefined where no package of this name is there. */
function versionIn(root: string): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
    return name === 'handover' && typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}
