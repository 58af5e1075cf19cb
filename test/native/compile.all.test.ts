// The addon, compiled from a copy of its sources as `npm install` in the repository and `npx handover build` do it.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onLinux } from './sandbox.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ODD = fileURLToPath(new URL('fixtures/odd.h', import.meta.url));
/** Of the whole addon, on a small machine that runs another test file beside it. */
const COMPILE_TIMEOUT = 240_000;

const missing = ['g++', 'make', 'python3'].filter((name) => spawnSync(name, ['--version']).status !== 0);
const needs = missing.length === 0 ? '' : ` (needs ${missing.join(', ')})`;

const scratch = mkdtempSync(join(tmpdir(), 'handover-compile-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A tree of the sources, in which nothing has been compiled. */
function copyOfSources(name: string): string {
  const copy = join(scratch, name);
  const isSource = (path: string): boolean => !path.includes('/portable/build');
  for (const part of ['binding.gyp', 'package.json', 'native'])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true, filter: isSource });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

interface Ended {
  readonly status: number | null;
  readonly stderr: string;
}

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Ended {
  const { HANDOVER_PREBUILD: _, CXXFLAGS: __, ...inherited } = process.env;
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...inherited, ...env } });
  return { status, stderr };
}

const install = (copy: string, args: readonly string[], env?: NodeJS.ProcessEnv): Ended =>
  run([join(copy, 'native/install.mjs'), ...args], env);

/** What the package exports as `handover/fd`. */
const FD = new URL('../../dist/fd/index.js', import.meta.url).href;

const binaryOf = (copy: string): string => join(copy, 'build/Release/handover.node');

describe.skipIf(missing.length > 0)(`where the compiler fails${needs}`, () => {
  const failing = { CC: 'false', CXX: 'false' };
  let copy: string;
  beforeAll(() => {
    copy = copyOfSources('failing');
  });

  it('npm install ends well: a warning says what is lost, and the way out', () => {
    const { status, stderr } = install(copy, [], failing);
    expect(status).toBe(0);
    expect(existsSync(binaryOf(copy))).toBe(false);
    expect(stderr).toMatch(/^handover: warning: the addon was not compiled: node-gyp failed/m);
    expect(stderr).toMatch(/^handover: Without it serve\(\) listens plainly/m);
    expect(stderr).toMatch(/install a C\+\+ compiler, make and Python 3[\s\S]*run: npx handover build$/m);
  });

  it('npm install is what runs it so, and nothing else of it can fail', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: { readonly prepare: string };
    };
    expect(scripts.prepare).toMatch(/^node native\/install\.mjs && npm run build:js$/);
  });

  it.each(['--required', '--rebuild'])('that fails where the addon itself was asked for (%s)', (asked) => {
    const { status, stderr } = install(copy, [asked], failing);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^handover: the addon was not compiled: node-gyp failed/m);
    expect(stderr).toMatch(/run: npx handover build$/m);
  });

  it('npm install ends well without the headers of node-addon-api, too', () => {
    const bare = copyOfSources('bare');
    rmSync(join(bare, 'node_modules'));
    const gyp = join(ROOT, 'node_modules/node-gyp/bin/node-gyp.js');
    const { status, stderr } = install(bare, [], { npm_config_node_gyp: gyp });
    expect(status).toBe(0);
    expect(stderr).toMatch(/^handover: warning: the addon was not compiled: there are no headers of node-addon-api/m);
  });
});

describe.skipIf(missing.length > 0)(`compiled for another Node${needs}`, () => {
  const odd = { CXXFLAGS: `-O0 -include ${ODD}` };
  let copy: string;
  let compiled: Ended;
  beforeAll(() => {
    copy = copyOfSources('odd');
    compiled = install(copy, [], odd);
  }, COMPILE_TIMEOUT);

  /** Loads it as the package does, in a process of its own. */
  const load = (oddity: string): Ended =>
    run(['--input-type=module', '-e', `import { socketpair } from ${JSON.stringify(FD)}; socketpair();`], {
      ODDITY: oddity,
      HANDOVER_PREBUILD: copy,
    });

  it('a warning of the compiler stops nobody', () => {
    expect(compiled.stderr).toMatch(/warning: .*Unused/);
    expect(compiled.status).toBe(0);
    expect(load('')).toEqual({ status: 0, stderr: '' });
  });

  it.each([
    ['poller', 'uv_poll_t has another size in this Node than in the headers the addon was compiled with'],
    ['table', 'the exports of the addon cannot be defined'],
  ])('it does not load (%s)', (oddity, why) => {
    const { status, stderr } = load(oddity);
    expect(stderr).toContain(`handover.node does not load: ${why}`);
    expect(status).toBe(1);
  });

  it(
    'our own CI asks for no warning, by CXXFLAGS',
    () => {
      expect(readFileSync(join(ROOT, '.ci/run'), 'utf8')).toMatch(/env CXXFLAGS=-Werror npm run build:addon/);
      const { status, stderr } = install(copyOfSources('strict'), ['--rebuild'], {
        CXXFLAGS: `${odd.CXXFLAGS} -Werror`,
      });
      expect(stderr).toMatch(/error: .*Unused/);
      expect(status).toBe(1);
    },
    COMPILE_TIMEOUT,
  );
});

describe('constants of the kernel', () => {
  /** In the headers of every libc, older than any compiler of C++17; where architectures differ in the value, only there. */
  const everywhere =
    /^(SO_(TYPE|ACCEPTCONN|REUSEADDR|REUSEPORT|PASSCRED|PEERCRED)|SCM_(RIGHTS|CREDENTIALS)|MSG_(CTRUNC|TRUNC|DONTWAIT|NOSIGNAL|CMSG_CLOEXEC)|F_([GS]ETF[DL]|DUPFD_CLOEXEC|WRLCK|UNLCK))$/;
  const native = join(ROOT, 'native');
  const sources = readdirSync(native).filter((file) => /\.(cc|h)$/.test(file) && file !== 'kernel.h');
  const used = new Set(
    sources.flatMap((file) => {
      const code = readFileSync(join(native, file), 'utf8').replace(/\/\/.*|"[^"]*"/g, '');
      return code.match(/\b(SO|SCM|MSG|F|MFD|SYS)_\w+/g) ?? [];
    }),
  );
  const newer = [...used].filter((name) => !everywhere.test(name));
  const headers = ['fcntl.h', 'sys/mman.h', 'sys/socket.h', 'sys/syscall.h'].map((name) => `#include <${name}>`);

  /** What the compiler says of a file of ours, after these lines. */
  function check(source: string, before: readonly string[]): string {
    const file = join(scratch, `${source}.before.h`);
    writeFileSync(file, `${before.join('\n')}\n`);
    const args = ['-std=gnu++17', '-fsyntax-only', '-include', file, '-x', 'c++', join(native, source)];
    return spawnSync('g++', args, { encoding: 'utf8' }).stderr;
  }

  it('are known in number', () => {
    expect(newer).toEqual(expect.arrayContaining(['SO_PEERPIDFD', 'F_OFD_SETLK', 'MFD_NOEXEC_SEAL', 'SYS_pidfd_open']));
  });

  it.skipIf(missing.length > 0 || !onLinux).each(['posix_linux.cc', 'peer_linux.cc'])(
    'are defined where the headers lack them (%s)',
    (source) => {
      expect(check(source, [...headers, ...newer.map((name) => `#undef ${name}`)])).toBe('');
    },
  );

  it.skipIf(missing.length > 0 || !onLinux)('have the values of the headers', () => {
    const theirs = newer.flatMap((name) => [
      `#ifdef ${name}`,
      `constexpr long k${name} = ${name};`,
      `#undef ${name}`,
      '#else',
      `#define LACKS_${name}`,
      '#endif',
    ]);
    const same = newer.flatMap((name) => [
      `#ifndef LACKS_${name}`,
      `static_assert(k${name} == ${name}, "${name}");`,
      '#endif',
    ]);
    const memfd = ['#if __has_include(<linux/memfd.h>)', '#include <linux/memfd.h>', '#endif'];
    const ours = `#include "${join(native, 'kernel.h')}"`;
    expect(check('posix.h', [...headers, ...memfd, ...theirs, ours, ...same])).toBe('');
  });
});
