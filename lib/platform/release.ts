// Whether a successor would run another release than this process: what its command names, as the file system has it.
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import type { ReleaseName } from '../events.js';
import type { CommandFiles } from './command.js';

/** A file as it was: a changed one differs in size or time, another release also in its path. */
export type FilePrint = { readonly path: string; readonly size: number; readonly modifiedMs: number };
export type PackagePrint = { readonly path: string; readonly version: string };

/**
 * What a command would run: the executable and every argument that is a file, through all symlinks, with the version of
 * the packages they are in. What those files import is not looked at: a release is a new directory, a new version, or a
 * new entry file.
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

/** A process by the file it was started with. */
export function nameRelease(entry: string | undefined): ReleaseName {
  const [file] = entry === undefined ? [] : printOf(entry);
  return { entry: file?.path, version: file && packageOf(file.path)[0]?.version };
}

/** What is different, in words; empty where nothing is. */
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

/** Without what is compared as a file: the same one may be named in another way. */
function wordsOf({ command, cwd }: Release): string {
  return command.filter((word) => printOf(resolve(cwd, word)).length === 0).join('\0');
}

function printOf(path: string): FilePrint[] {
  try {
    const stat = statSync(path);
    // A directory (`node .`) changes with every file that is put into it.
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
      // None here, or one that says nothing.
    }
    if (folder === dirname(folder)) return [];
  }
}
