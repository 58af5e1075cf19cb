// What the repository may and may not hold: dependencies, lockfile, traces of the machine it was written on.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function command(name: string, ...args: string[]): string {
  return execFileSync(name, args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

function json<T>(path: string): T {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as T;
}

/** Absolute paths in a home or a work tree. In pieces, so that this file passes itself. */
const MACHINE_PATH = new RegExp(
  `(?<![\\w.~$}-])/(${['wo' + 'rk', 'ro' + 'ot', 'home/\\w+', 'Users/\\w+'].join('|')})(?![\\w.-])`,
);

describe('package.json', () => {
  const manifest = json<Record<string, Record<string, string> | undefined>>('package.json');

  it('depends at run time on the loader of the addon alone', () => {
    expect(Object.keys(manifest.dependencies ?? {})).toEqual(['node-gyp-build']);
    expect(manifest.optionalDependencies).toBeUndefined();
    for (const peer of Object.keys(manifest.peerDependencies ?? {})) {
      expect(manifest.peerDependenciesMeta).toHaveProperty([peer, 'optional'], true);
    }
  });
});

describe('package-lock.json', () => {
  interface Locked {
    readonly resolved?: string;
    readonly integrity?: string;
    readonly dependencies?: Record<string, string>;
    readonly devDependencies?: Record<string, string>;
    readonly optionalDependencies?: Record<string, string>;
  }
  const { packages } = json<{ packages: Record<string, Locked> }>('package-lock.json');
  const locked = Object.entries(packages).filter(([path]) => path !== '');

  it('was made for this package.json', () => {
    const { dependencies, devDependencies } = json<Locked>('package.json');
    expect(packages['']).toMatchObject({ dependencies, devDependencies });
  });

  it('names no host, and pins each package by its hash', () => {
    expect(locked.length).toBeGreaterThan(50);
    expect(locked.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    expect(locked.filter(([, { integrity }]) => integrity === undefined)).toEqual([]);
  });

  it.each(['typescript', '@biomejs/biome', 'rolldown'])('holds the binaries of %s for every platform', (name) => {
    const wanted = Object.keys(packages[`node_modules/${name}`]?.optionalDependencies ?? {});
    expect(wanted.length).toBeGreaterThan(2);
    expect(wanted.filter((binary) => packages[`node_modules/${binary}`] === undefined)).toEqual([]);
  });
});

describe('tracked files', () => {
  const tracked = command('git', 'ls-files', '-z')
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(ROOT, path)))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
    .filter(({ text }) => !text.includes('\0'));

  const holding = (found: (line: string) => boolean): string[] =>
    tracked.flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, index) => (found(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
    );

  it('are found', () => {
    expect(tracked.map(({ path }) => path)).toContain('package.json');
  });

  it('hold no path of the machine they were written on', () => {
    expect(holding((line) => MACHINE_PATH.test(line))).toEqual([]);
  });

  it.each([
    ["'/{}/main/lib'", 'wo' + 'rk', true],
    ['cd /{} && ls', 'ro' + 'ot', true],
    ['/{}/', 'home/someone', true],
    ['https://example.org/{}/x', 'wo' + 'rk', false],
    ['/{}.json', 'wo' + 'rk', false],
    ['../{}/x', 'ro' + 'ot', false],
    ['/{}s/x', 'wo' + 'rk', false],
  ])('%s: a machine path is told from another', (template, word, expected) => {
    expect(MACHINE_PATH.test(template.replace('{}', word))).toBe(expected);
  });

  it('hold no host of the registry they were installed from', () => {
    const { host } = new URL(command('npm', 'config', 'get', 'registry').trim());
    expect(holding((line) => line.includes(host))).toEqual([]);
  });
});
