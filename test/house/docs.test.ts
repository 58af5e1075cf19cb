// What README and docs promise of themselves: links lead somewhere, tables are those of the code, examples import what is
// there.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../lib/terminal/exit-codes.js';
import { anchorsOf, brokenLinks } from './markdown.js';
import { FLOORS } from './rules.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

function lookup(path: string): string | true | undefined {
  const file = join(ROOT, path);
  if (path.startsWith('../') || !existsSync(file)) return undefined;
  return statSync(file).isFile() && path.endsWith('.md') ? readFileSync(file, 'utf8') : true;
}

const pages = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(ROOT, path)));

describe('README', () => {
  const readme = read('README.md');

  it('has at most 200 lines', () => {
    expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(200);
  });

  it('names the command that runs the tests, each guarantee, and each page of docs', () => {
    expect(readme).toContain('npm install && npm test');
    expect(readme.match(/\*\*G\d /g)?.map((match) => match.slice(2, 4))).toEqual(
      Array.from({ length: 9 }, (_, i) => `G${i + 1}`),
    );
    const missing = readdirSync(join(ROOT, 'docs')).filter(
      (name) => name.endsWith('.md') && !readme.includes(`(docs/${name})`),
    );
    expect(missing).toEqual([]);
  });
});

describe('every link and anchor', () => {
  it.each(pages)('of %s leads somewhere', (path) => {
    expect(brokenLinks(path, read(path), lookup)).toEqual([]);
  });

  const files: Readonly<Record<string, string>> = { 'docs/b.md': '# B, `too`\n## Same\n## Same\n' };
  const broken = (text: string): string[] => brokenLinks('docs/a.md', text, (path) => files[path]);

  it.each([
    ['a file that is not there', '[c](c.md)', 'docs/a.md links to c.md: there is no docs/c.md'],
    ['a file beside the folder', '[b](../b.md)', 'docs/a.md links to ../b.md: there is no b.md'],
    ['a picture that is not there', '![c](c.png)', 'docs/a.md links to c.png: there is no docs/c.png'],
    ['a heading that is not there', '[b](b.md#c)', 'docs/a.md links to b.md#c: there is no heading #c'],
    ['a heading of its own that is not there', '# A\n[`x`](#b)', 'docs/a.md links to #b: there is no heading #b'],
    ['a heading in a code block', '[a](#a)\n```\n# A\n```\n', 'docs/a.md links to #a: there is no heading #a'],
  ])('is missed where it leads to %s', (_, text, said) => {
    expect(broken(text)).toEqual([said]);
  });

  it('is found by what GitHub makes of a heading, and not looked for in code or elsewhere', () => {
    expect([...anchorsOf(files['docs/b.md'] as string)]).toEqual(['b-too', 'same', 'same-1']);
    const text = '[b](b.md#b-too) [c](b.md#same-1) [d](https://example.org/#x) `[e](e.md)`\n```\n[f](f.md)\n```\n';
    expect(broken(text)).toEqual([]);
  });
});

describe('every example', () => {
  /** What it imports of the package: the entry, and the names. */
  const imports = pages.flatMap((path) =>
    [...read(path).matchAll(/^import \{ (.*) \} from 'handover(\/[a-z]+)?';/gm)].map(
      ([, names = '', entry = '/index']) => [path, entry, names.split(', ')] as const,
    ),
  );

  it('is found', () => {
    expect(imports.length).toBeGreaterThan(5);
  });

  it.each(imports)('of %s imports from handover%s what is there', async (_, entry, names) => {
    const exported = (await import(
      pathToFileURL(join(ROOT, 'lib', entry === '/fd' ? 'fd/index.ts' : `${entry}.ts`)).href
    )) as object;
    expect(names.filter((name) => !(name in exported))).toEqual([]);
  });
});

describe('a table', () => {
  /** The first cell of each row that begins like this. */
  const rows = (path: string, row: RegExp): string[] => [...read(path).matchAll(row)].map(([, cell = '']) => cell);

  it('of FACTS.md has each fact once, and each that is cited', () => {
    const facts = rows('docs/FACTS.md', /^- \*\*([A-Z]\d+[a-z]?)\*\* /gm);
    expect(facts.filter((fact, i) => facts.indexOf(fact) !== i)).toEqual([]);
    const lines = execFileSync('git', ['grep', '-hE', 'FACTS', '--', 'lib', 'native', 'test', 'bench', 'scripts'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    // `FACTS N3`, `FACTS K1, unix(7)`, `FACTS P2, P5`; and "as FACTS.md has it: K9, K12, N1 to N6".
    const cited = [...lines.matchAll(/FACTS(?:\.md has it:)? ((?:[A-Z]\d+[a-z]?(?:, and |, | to )?)+)/g)].flatMap(
      ([, list = '']) => list.match(/[A-Z]\d+[a-z]?/g) ?? [],
    );
    expect(cited.length).toBeGreaterThan(30);
    expect([...new Set(cited)].filter((fact) => !facts.includes(fact))).toEqual([]);
  });

  it('of events has each channel', () => {
    const [, body = ''] = /^export interface HandoverEvents \{\n(.*?)^\}/ms.exec(read('lib/events.ts')) ?? [];
    const names = [...body.matchAll(/^ {2}'?([a-z-]+)'?: /gm)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(10);
    expect(rows('docs/observe.md', /^\| `handover:([a-z-]+)` \|/gm).sort()).toEqual(names.sort());
  });

  it('of folders is the order of the floors', () => {
    expect(rows('docs/CONTRIBUTING.md', /^ {2}([a-z]+)\/ /gm)).toEqual(FLOORS);
  });

  it('of exit codes has each', () => {
    expect(rows('docs/command-line.md', /^\| (\d) \|/gm)).toEqual(Object.values(EXIT).map(String));
  });
});
