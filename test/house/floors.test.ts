// Holds lib/ to the floors of the design, and lib/ and native/ to the form of the house.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  checkCircles,
  checkClock,
  checkContent,
  checkFloors,
  checkForm,
  checkLazy,
  checkProtocols,
  importsOf,
  type Source,
} from './rules.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function sourcesIn(folder: string, name: RegExp): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => `${folder}/${path.replaceAll('\\', '/')}`)
    .filter((path) => name.test(path) && !path.includes('/build/'))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

const lib = sourcesIn('lib', /\.ts$/);
const native = sourcesIn('native', /\.(cc|h|mjs|gypi?)$/);

describe('the sources', () => {
  it('are found', () => {
    expect(lib.map(({ path }) => path)).toContain('lib/fd/native.ts');
    expect(lib.flatMap(importsOf).length).toBeGreaterThan(0);
    expect(native.some(({ path }) => path.endsWith('.cc'))).toBe(true);
  });

  it('import only from floors below their own', () => {
    expect(lib.flatMap(checkFloors)).toEqual([]);
  });

  it('import each other in no circle', () => {
    expect(checkCircles(lib)).toEqual([]);
  });

  it('of the command line, the supervisor, WebSocket and TLS are loaded only when used', () => {
    expect(checkLazy('lib/index.ts', lib)).toEqual([]);
    expect(checkLazy('lib/fd/index.ts', lib)).toEqual([]);
  });

  it('know no protocol by name but in the registry', () => {
    const registry = lib.find(({ path }) => path === 'lib/protocols/registry.ts') as Source;
    expect(importsOf(registry).filter(({ eager }) => eager).length).toBeGreaterThan(3);
    expect(checkProtocols(registry, lib)).toEqual([]);
  });

  it('hold no console, any, enum or default export, and Node internals in one file only', () => {
    expect(lib.flatMap(checkContent)).toEqual([]);
  });

  it('of the engine wait by the clock of Env', () => {
    expect(lib.flatMap(checkClock)).toEqual([]);
  });

  it('say in the first line what they are, and own one thing each', () => {
    expect([...lib, ...native].flatMap(checkForm)).toEqual([]);
  });
});

describe('checkFloors finds', () => {
  const at = (path: string, text: string): string[] => checkFloors({ path, text });

  it.each([
    ['a higher floor', 'lib/fd/a.ts', "import { b } from '../protocol/b.js';", 'lib/protocol is above lib/fd'],
    ['a type of a higher floor', 'lib/protocol/a.ts', "import type { B } from '../resources/b.js';", 'above'],
    ['a re-export', 'lib/resources/a.ts', "export * from '../handover/b.js';", 'above'],
    ['a named re-export', 'lib/resources/a.ts', "export { b } from '../handover/b.js';", 'above'],
    ['a lazy import', 'lib/handover/a.ts', "await import('../cli/b.js');", 'above'],
    ['a type in place', 'lib/fd/a.ts', "type B = import('../protocol/b.js').B;", 'above'],
    ['an import for its effect', 'lib/fd/a.ts', "import '../protocol/b.js';", 'above'],
    ['an import over several lines', 'lib/fd/a.ts', "import {\n  b,\n} from\n  '../protocol/b.js';", 'above'],
    ['a computed import', 'lib/fd/a.ts', 'await import(name);', 'no package'],
    ['the roof', 'lib/cli/a.ts', "import { serve } from '../index.js';", 'roof'],
    ['a floor beside every floor', 'lib/errors.ts', "import { b } from './fd/b.js';", 'beside'],
    ['observe in a floor', 'lib/process/a.ts', "import { b } from '../observe/b.js';", 'above'],
    ['the addon above lib/fd', 'lib/protocol/a.ts', "import { b } from '../fd/native.js';", 'addon'],
    ['the addon on the roof', 'lib/index.ts', "import { b } from './fd/native.js';", 'addon'],
    ['an unlisted folder', 'lib/helpers/a.ts', "import { b } from '../fd/b.js';", 'not in the list'],
    ['an import of an unlisted folder', 'lib/cli/a.ts', "import { b } from '../helpers/b.js';", 'not in the list'],
    ['a package', 'lib/cli/a.ts', "import { ws } from 'ws';", 'no package'],
    ['a builtin without node:', 'lib/cli/a.ts', "import fs from 'fs';", 'no package'],
    ['what is outside lib/', 'lib/cli/a.ts', "import { b } from '../../native/install.mjs';", 'outside'],
  ])('%s', (_, path, text, reason) => {
    expect(at(path, text)).toEqual([expect.stringContaining(reason)]);
  });

  it.each([
    [
      'lib/protocol/a.ts',
      "import { b } from '../fd/b.js'; import { c } from './c.js'; import { d } from '../errors.js';",
    ],
    ['lib/cli/a.ts', "import { b } from '../supervisor/b.js'; import { c } from '../observe/c.js';"],
    ['lib/index.ts', "export * from './handover/a.js'; import { b } from './errors.js'; await import('./cli/c.js');"],
    ['lib/observe/a.ts', "import { b } from '../events.js'; import { c } from './c.js'; import net from 'node:net';"],
    [
      'lib/fd/a.ts',
      "import { native } from './native.js'; // import '../cli/x.js'\nconst text = \"import '../cli/x.js'\";",
    ],
  ])('nothing wrong in %s', (path, text) => {
    expect(at(path, text)).toEqual([]);
  });
});

describe('checkLazy finds', () => {
  const chain = (text: string): string[] =>
    checkLazy('lib/index.ts', [
      { path: 'lib/index.ts', text: "export { a } from './handover/a.js';" },
      { path: 'lib/handover/a.ts', text },
    ]);

  it('the way by which a lazy part is loaded at once', () => {
    expect(chain("import { b } from '../supervisor/b.js';")).toEqual([
      'loaded at once: lib/index.ts → lib/handover/a.ts → lib/supervisor/b.ts',
    ]);
  });

  it('nothing wrong in types and in import()', () => {
    expect(chain("import type { B } from '../supervisor/b.js'; await import('../connections/websocket.js');")).toEqual(
      [],
    );
  });
});

describe('checkCircles finds', () => {
  const among = (...texts: readonly string[]): string[] =>
    checkCircles(texts.map((text, index) => ({ path: `lib/fd/${'abcd'[index]}.ts`, text })));

  it.each([
    ['two files', ["import { b } from './b.js';", "import { a } from './a.js';"], 'a.ts → lib/fd/b.ts → lib/fd/a.ts'],
    ['types alone', ["import type { B } from './b.js';", "export type * from './a.js';"], 'b.ts → lib/fd/a.ts'],
    ['an import() back', ["import { b } from './b.js';", "type A = import('./a.js').A;"], 'b.ts → lib/fd/a.ts'],
    [
      'three files, from a fourth',
      ["import './b.js';", "import './c.js';", "await import('./d.js');", "import { b } from './b.js';"],
      'lib/fd/b.ts → lib/fd/c.ts → lib/fd/d.ts → lib/fd/b.ts',
    ],
    ['a file that imports itself', ["import { a } from './a.js';"], 'a.ts → lib/fd/a.ts'],
  ])('%s', (_, texts, way) => {
    expect(among(...texts)).toEqual([expect.stringContaining(way)]);
  });

  it('nothing wrong in two ways to one file', () => {
    expect(among("import './b.js'; import './c.js';", "import './d.js';", "import './d.js';", '')).toEqual([]);
  });
});

describe('checkProtocols finds', () => {
  const registry = { path: 'lib/protocols/registry.ts', text: "import { lines } from './lines.js';" };
  const at = (path: string, to: string): string[] => checkProtocols(registry, [{ path, text: `import '${to}';` }]);

  it('a file of lib/ that imports a protocol, or a part of one', () => {
    expect(at('lib/protocols/managed-server.ts', './lines.js')).toHaveLength(1);
    expect(at('lib/process/a.ts', '../protocols/lines/drain.js')).toHaveLength(1);
  });

  it('nothing wrong in the registry, the protocol and an entry', () => {
    expect(at(registry.path, './lines.js')).toEqual([]);
    expect(at('lib/protocols/lines.ts', './lines/drain.js')).toEqual([]);
    expect(at('lib/lines.ts', './protocols/lines/drain.js')).toEqual([]);
  });
});

describe('checkContent finds', () => {
  const at = (text: string, path = 'lib/handover/a.ts'): string[] => checkContent({ path, text });

  it.each([
    ['any', 'const a: any = 1;'],
    ['any inside a type', 'type A = Map<string, any[]>;'],
    ['an enum', 'enum A { B }'],
    ['a default export', 'export default 1;'],
    ['console', 'console.log(1);'],
    ['_handle', 'socket._handle.readStop();'],
    ['_httpMessage', 'const { _httpMessage } = socket;'],
    ['_connections', "server['_connections']++;"],
    ['_server', 'interface Internal { _server: Server }'],
    ['state symbol', "socket[Symbol('state symbol')];"],
    ['loader', "require('node-gyp-build');"],
    ['a function of 71 lines', `function f() {${'\n'.repeat(70)}}`],
  ])('%s', (what, text) => {
    expect(at(`// A sample.\n${text}`)).toContainEqual(
      expect.stringMatching(new RegExp(`^lib/handover/a.ts:2 holds .*${what.replace(' inside a type', '')}`)),
    );
  });

  it("nothing wrong where Node's internals and the loader belong", () => {
    expect(at('socket._handle.readStop();', 'lib/sockets/stream-handle.ts')).toEqual([]);
    expect(at("require('node-gyp-build');", 'lib/fd/native.ts')).toEqual([]);
  });

  it('nothing wrong in comments, texts, private members and unused parameters', () => {
    expect(at("// console, any, _handle\nclass A { #a = 'any console'; b(_c: unknown) { return this.#a; } }")).toEqual(
      [],
    );
  });
});

describe('checkClock finds', () => {
  const at = (text: string, path = 'lib/handover/a.ts'): string[] => checkClock({ path, text });

  it.each(['setTimeout(f, 1)', 'setInterval(f, 1)', 'sleep(1)', 'settlesWithin(p, 1)'])('%s', (text) => {
    expect(at(`// A sample.\nawait ${text};`)).toEqual([expect.stringMatching(/^lib\/handover\/a.ts:2 calls /)]);
    expect(at(text, 'lib/process/held-exit.ts')).toEqual([]);
    expect(at(text, 'lib/fd/a.ts')).toEqual([]);
  });

  it('nothing wrong where a clock is given', () => {
    expect(at('sleep(1, clock); settlesWithin(p, 1, this.#clock); clock.after(1, f); socket.setTimeout(1);')).toEqual(
      [],
    );
  });
});

describe('checkForm finds', () => {
  const at = (path: string, text: string): string[] => checkForm({ path, text });

  it.each([
    ['code first', 'lib/fd/a.ts', "import 'node:net';\n"],
    ['an empty comment', 'lib/fd/a.ts', '// \n'],
    ['an empty file', 'native/a.cc', ''],
    ['a guard first', 'native/a.h', '#ifndef A\n'],
  ])('%s', (_, path, text) => {
    expect(at(path, text)).toHaveLength(1);
  });

  it.each([
    ['lib/fd/a.ts', '// A sample.\n'],
    ['native/a.mjs', '#!/usr/bin/env node\n// A sample.\n'],
    ['native/a.gypi', '# A sample.\n'],
  ])('nothing wrong in %s', (path, text) => {
    expect(at(path, text)).toEqual([]);
  });
});
