// Whether a successor would run another release than this process, judged by the files that its command names.
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import type { ReleaseName } from '../events.js';
import type { CommandFiles } from './command.js';

/** Path, size and time of a file. A changed file differs in size or time, that of another release also in its path. */
export type FilePrint = { readonly path: string; readonly size: number; readonly modifiedMs: number };
export type PackagePrint = { readonly path: string; readonly version: string };

/**
 * The files that a command would run: the executable and every argument that is a file, through all symlinks, with the
 * versions of their packages. Files that these import are not compared: a new release is a new directory, a new version of
 * the package, or a new entry file.
 */
export type Release = {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly files: readonly FilePrint[];
  readonly packages: readonly PackagePrint[];
};

export function identifyRelease({ file, args, cwd }: CommandFiles): Release {
  const executable = file.includes(sep) ? [resolve(cwd, file)] : [];
  const paths = args.filter((arg) => !arg.startsWith('-')).map((arg) => resolve(cwd, arg));
  const files = [...executable, ...paths].flatMap(printOf);
  const packages = files.slice(executable.length).flatMap(({ path }) => packageOf(path));
  return { command: [file, ...args], cwd, files, packages };
}

/** Names the release of a process by the file with which it was started. */
export function nameRelease(entry: string | undefined): ReleaseName {
  const [file] = entry === undefined ? [] : printOf(entry);
  return { entry: file?.path, version: file && packageOf(file.path)[0]?.version };
}

/** The differences between two releases, one text each; empty where there is none. */
export function changesBetween(old: Release, young: Release): string[] {
  const changes: string[] = [];
  for (const [i, file] of young.files.entries()) {
    const was = old.files[i];
    if (was?.path !== file.path) changes.push(`${was?.path ?? 'nothing'} becomes ${file.path}`);
    else if (was.size !== file.size || was.modifiedMs !== file.modifiedMs)
      changes.push(`${file.path} was written anew`);
  }
  for (const [i, { path, version }] of young.packages.entries()) {
    const was = old.packages[i];
    if (was && was.version !== version) changes.push(`${path}: version ${was.version} becomes ${version}`);
  }
  const isSameLength = old.files.length === young.files.length && old.packages.length === young.packages.length;
  if (changes.length === 0 && (!isSameLength || wordsOf(old) !== wordsOf(young))) changes.push('another command line');
  return changes;
}

/** The words of a command that name no file. Files are compared by themselves, as one file can be named in several ways. */
function wordsOf({ command, cwd }: Release): string {
  return command.filter((word) => printOf(resolve(cwd, word)).length === 0).join('\0');
}

function printOf(path: string): FilePrint[] {
  try {
    const stat = statSync(path);
    // Size and time of a directory (`node .`) change with every file that is made in it, so they say nothing.
    const [size, modifiedMs] = stat.isDirectory() ? [0, 0] : [stat.size, stat.mtimeMs];
    return [{ path: realpathSync(path), size, modifiedMs }];
  } catch {
    return [];
  }
}

/** The nearest package.json that names a version. */
function packageOf(file: string): PackagePrint[] {
  for (let folder = file; ; folder = dirname(folder)) {
    const path = join(folder, 'package.json');
    try {
      const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version?: unknown };
      if (typeof version === 'string') return [{ path, version }];
    } catch {
      // This folder has no package.json, or one that is not JSON: the next folder above may have one.
    }
    if (folder === dirname(folder)) return [];
  }
}
