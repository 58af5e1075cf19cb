// The rules of the house as functions: the floors of the tower, and what no file of lib/ may hold. Sources come in as
// text, findings go out as sentences, so that floors.test.ts can show bad samples to them.
import { posix } from 'node:path';
import { parseAst } from 'vitest/node';

/** A source file: its path from the root of the package, with slashes, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** One import of a source: `to` as written, and whether it runs when the file is loaded. */
export interface Import {
  readonly to: string;
  /** False for `import type`, for `import()`, and for types written as `import('…')`. */
  readonly eager: boolean;
}

/** Bottom first: a folder of lib/ imports only from those before it. */
export const FLOORS = [
  'fd',
  'protocol',
  'sockets',
  'endpoints',
  'resources',
  'protocols',
  'transfer',
  'platform',
  'handover',
  'process',
  'supervisor',
  'observe',
  'serve',
  'terminal',
  'hammer',
  'report',
  'auto',
  'cli',
];
/** Beside every floor. */
const BESIDE = ['lib/errors.ts', 'lib/events.ts'];
const ADDON_LOADER = 'lib/fd/native.ts';
const NODE_INTERNALS = /^lib\/sockets\//;
/** Wait by the clock of Env, and these by the system's: signals and the end of a process are of no other time. */
const KEEPS_TIME = /^lib\/(transfer|handover|process)\/(?!process-signals|held-exit)/;
/** Which of their arguments is the clock. */
const WAITS: Readonly<Record<string, number>> = { settlesWithin: 3, sleep: 2, setTimeout: 0, setInterval: 0 };
/** Loaded only when used: what the roof must not reach by eager imports. */
const LAZY = /^lib\/(cli|hammer|report|supervisor|protocols\/(websocket\/migrate|tls))\//;
/** A function fits a screen; a file is as long as its one thing. */
const MAX_FUNCTION_LINES = 70;
const COMMENT = { '.ts': '//', '.mjs': '//', '.cc': '//', '.h': '//', '.gypi': '#', '.gyp': '#' } as const;

interface Node {
  readonly type: string;
  readonly start: number;
  readonly [key: string]: unknown;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

function* nodesOf(value: unknown): Generator<Node> {
  if (Array.isArray(value)) {
    for (const item of value) yield* nodesOf(item);
  } else if (isNode(value)) {
    yield value;
    for (const child of Object.values(value)) yield* nodesOf(child);
  }
}

const parsed = new WeakMap<Source, Node[]>();

/** Every node of a source, which each rule asks for. */
function parse(source: Source): Node[] {
  let nodes = parsed.get(source);
  if (!nodes) {
    nodes = [...nodesOf(parseAst(source.text, { lang: 'ts' }, source.path) as unknown)];
    parsed.set(source, nodes);
  }
  return nodes;
}

function literal(node: unknown): string | undefined {
  return isNode(node) && node.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined;
}

/** Every module a source names, types included: a type is knowledge of another floor, too. */
export function importsOf(source: Source): Import[] {
  return parse(source).flatMap((node): Import[] => {
    const to = literal(node.source);
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        return to === undefined ? [] : [{ to, eager: (node.importKind ?? node.exportKind) !== 'type' }];
      case 'ImportExpression':
        // A computed specifier cannot be held to a floor.
        return [{ to: to ?? '(computed)', eager: false }];
      case 'TSImportType':
        return [{ to: to ?? '(computed)', eager: false }];
      default:
        return [];
    }
  });
}

/** The source file a relative import means: `./x.js` of lib/a/y.ts is lib/a/x.ts. */
function resolve(from: string, to: string): string {
  return posix.join(posix.dirname(from), to).replace(/\.js$/, '.ts');
}

/** `fd` for lib/fd/x.ts; undefined for a file of lib/ itself. */
function folderOf(path: string): string | undefined {
  return /^lib\/([^/]+)\//.exec(path)?.[1];
}

function forbidden(from: string, target: string): string | undefined {
  const here = folderOf(from);
  const there = folderOf(target);
  if (!target.startsWith('lib/')) return 'it is outside lib/';
  if (target === ADDON_LOADER && here !== 'fd') return 'only lib/fd talks to the addon';
  if (BESIDE.includes(target)) return undefined;
  if (BESIDE.includes(from)) return 'what stands beside every floor imports no floor';
  if (here === undefined) return undefined;
  if (there === undefined) return 'the roof is above every floor';
  if (here === there) return undefined;
  const floor = FLOORS.indexOf(here);
  if (floor === -1) return `lib/${here} is not in the list of floors`;
  if (!FLOORS.includes(there)) return `lib/${there} is not in the list of floors`;
  return FLOORS.indexOf(there) < floor ? undefined : `lib/${there} is above lib/${here}`;
}

/** Imports that break the order of the floors. */
export function checkFloors(source: Source): string[] {
  return importsOf(source).flatMap(({ to }) => {
    if (to.startsWith('node:')) return [];
    const reason = /^\.\.?\//.test(to)
      ? forbidden(source.path, resolve(source.path, to))
      : 'no package but Node itself';
    return reason === undefined ? [] : [`${source.path} imports ${to}: ${reason}`];
  });
}

/** What loading the roof loads at once although it is to be loaded only when used. */
export function checkLazy(roof: string, sources: readonly Source[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const chains = new Map([[roof, roof]]);
  // A Map visits what is added during the walk.
  for (const [path, chain] of chains) {
    const source = byPath.get(path);
    if (source === undefined) continue;
    for (const { to, eager } of importsOf(source)) {
      const target = resolve(path, to);
      if (eager && to.startsWith('.') && !chains.has(target)) chains.set(target, `${chain} → ${target}`);
    }
  }
  return [...chains].filter(([path]) => LAZY.test(path)).map(([, chain]) => `loaded at once: ${chain}`);
}

/** Files that import each other in a circle, each circle as one way around. Types count, and so does `import()`. */
export function checkCircles(sources: readonly Source[]): string[] {
  const paths = new Set(sources.map(({ path }) => path));
  const targets = new Map(
    sources.map((source) => {
      const relative = importsOf(source).filter(({ to }) => to.startsWith('.'));
      return [source.path, relative.map(({ to }) => resolve(source.path, to)).filter((path) => paths.has(path))];
    }),
  );
  const found: string[] = [];
  const reported = new Set<string>();
  for (const path of paths) {
    const way = reported.has(path) ? undefined : wayBack(path, targets);
    for (const member of way ?? []) reported.add(member);
    if (way !== undefined) found.push(`a circle: ${way.join(' → ')}`);
  }
  return found;
}

/** The shortest way from a file to itself; breadth first, so that the circle named is the smallest. */
function wayBack(from: string, targets: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const ways = new Map<string, readonly string[]>([[from, [from]]]);
  // A Map visits what is added during the walk.
  for (const [path, way] of ways) {
    for (const target of targets.get(path) ?? []) {
      if (target === from) return [...way, from];
      if (!ways.has(target)) ways.set(target, [...way, target]);
    }
  }
  return undefined;
}

function contentFault(node: Node, path: string): string | undefined {
  switch (node.type) {
    case 'TSAnyKeyword':
      return 'any';
    case 'TSEnumDeclaration':
      return 'an enum';
    case 'ExportDefaultDeclaration':
      return 'a default export';
    case 'Identifier':
      return node.name === 'console' ? 'console' : undefined;
    case 'Literal':
      if (node.value === 'node-gyp-build' && path !== ADDON_LOADER) return 'a loader of the addon';
      return NODE_INTERNALS.test(path) ? undefined : internalName(node.value);
    default:
      return NODE_INTERNALS.test(path) ? undefined : internalName(memberName(node));
  }
}

/** The name a node reads, writes or declares a member by. */
function memberName(node: Node): unknown {
  const name =
    node.type === 'MemberExpression'
      ? node.property
      : ['Property', 'PropertyDefinition', 'MethodDefinition', 'TSPropertySignature', 'TSMethodSignature'].includes(
            node.type,
          )
        ? node.key
        : undefined;
  return isNode(name) && node.computed !== true ? name.name : undefined;
}

/** Our own private members begin with `#`: a leading underscore is Node's. */
function internalName(name: unknown): string | undefined {
  const internal = typeof name === 'string' && (/^_[a-z]\w*$/i.test(name) || name === 'state symbol');
  return internal ? `Node's internal "${name}" (belongs in lib/sockets)` : undefined;
}

/**
 * What a file of lib/ holds although none may: console, any, enum, default export, Node's internals, another loader, a
 * function that is longer than a screen.
 */
export function checkContent(source: Source): string[] {
  return parse(source).flatMap((node) => {
    const fault = contentFault(node, source.path) ?? lengthFault(node, source.text);
    if (fault === undefined) return [];
    return [`${source.path}:${source.text.slice(0, node.start).split('\n').length} holds ${fault}`];
  });
}

/** Waits of the engine that no test can move on: without the clock of Env. */
export function checkClock(source: Source): string[] {
  if (!KEEPS_TIME.test(source.path)) return [];
  return parse(source).flatMap((node) => {
    const { callee, arguments: given } = node;
    if (node.type !== 'CallExpression' || !isNode(callee) || callee.type !== 'Identifier') return [];
    const needed = WAITS[String(callee.name)];
    if (needed === undefined || (needed > 0 && (given as readonly unknown[]).length >= needed)) return [];
    const line = source.text.slice(0, node.start).split('\n').length;
    return [`${source.path}:${line} calls ${callee.name} without a clock`];
  });
}

function lengthFault(node: Node, text: string): string | undefined {
  if (!/Function/.test(node.type) || !isNode(node.body) || node.body.type !== 'BlockStatement') return undefined;
  const lines = text.slice(node.start, node.body.end as number).split('\n').length;
  return lines > MAX_FUNCTION_LINES ? `a function of ${lines} lines, more than ${MAX_FUNCTION_LINES}` : undefined;
}

/** A first line that is no comment. */
export function checkForm(source: Source): string[] {
  const faults: string[] = [];
  const lines = source.text.trimEnd().split('\n');
  const [first = ''] = lines.filter((line, index) => index > 0 || !line.startsWith('#!'));
  const marker = COMMENT[posix.extname(source.path) as keyof typeof COMMENT];
  // A word after the marker, so that neither a directive nor an empty comment will do.
  if (!first.startsWith(`${marker} `) || !/^\W+[A-Za-z`]/.test(first)) {
    faults.push(`${source.path} does not say in its first line what it is`);
  }
  return faults;
}

/**
 * A protocol's file or folder imported by what must know none by name: all of lib/ but the registry, which lists them, the
 * protocols themselves, and the public entries. `registry`: the source that imports each.
 */
export function checkProtocols(registry: Source, sources: readonly Source[]): string[] {
  const own = importsOf(registry).flatMap(({ to, eager }) => (eager ? [resolve(registry.path, to).slice(0, -3)] : []));
  const isOfProtocol = (path: string): boolean =>
    own.some((protocol) => path === `${protocol}.ts` || path.startsWith(`${protocol}/`));
  return sources.flatMap((source) => {
    if (source.path === registry.path || isOfProtocol(source.path) || folderOf(source.path) === undefined) return [];
    return importsOf(source)
      .filter(({ to }) => to.startsWith('.') && isOfProtocol(resolve(source.path, to)))
      .map(({ to }) => `${source.path} imports ${to}: only the registry knows a protocol by name`);
  });
}
