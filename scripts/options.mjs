// Writes docs/options.md: the options of `openHandover` from their table, those of `listen` and `serve` from their interfaces.
// `npm run docs:options`; test/house/options.test.ts fails where the page is not what this writes.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('..', import.meta.url);

/** How a kind reads; what it may be, and in which unit. */
const KINDS = {
  milliseconds: 'milliseconds',
  count: 'number',
  flag: 'boolean',
  path: 'path',
  function: 'function',
  healthCheck: 'function',
  endpoint: 'object',
  takeover: 'path or object',
  successor: 'object',
  preflight: 'list of strings, or function',
  systemd: 'object or `false`',
  unclaimed: "`'fail'`, `'close'` or a list of names",
  timeline: 'object',
};

/** The page. `read` gives the text of a source, `table` is HANDOVER_OPTIONS. */
export function optionsPage(table, read) {
  const comments = commentsOfTable(read('lib/process/options.ts'));
  const own = membersOf(read('lib/serve/serve.ts'), 'ServeOptions');
  const listen = [
    ...membersOf(read('lib/process/types.ts'), 'ListenOptions'),
    ...membersOf(read('lib/endpoints/endpoint.ts'), 'ListenAddress'),
  ];
  return `# Options

<!-- Written by scripts/options.mjs from the tables in lib/. Change them there. -->

A wrong value, and an option that is not known, is refused before anything happens: the error names the option, what was expected, and
the value. Older spellings: [UPGRADING.md](UPGRADING.md).

## Of \`openHandover\`, \`serve\` and \`handover/auto\`

Groups are objects: \`drain.timeout\` is \`{ drain: { timeout: 30_000 } }\`. [\`handover/auto\`](auto.md) takes them as JSON.

${rows(leaves(table, comments))}

## Of \`listen\`

One of \`port\`, \`path\` and \`abstract\` says where a server listens. All hold for a socket that is bound; one that is claimed stays as
it is. \`serve\` takes them in the group \`listen\`, or beside the others: \`serve(server, { port: 8080 })\`.

${rows(listen)}

## Of \`serve\` alone

${rows(own)}

## Of \`serve\` and \`handover/auto\`: \`signals\`

${rows(membersOf(read('lib/process/process-signals.ts'), 'ServeSignals'))}
`;
}

function rows(options) {
  const cells = options.map(({ name, type, byDefault, text }) => [`\`${name}\``, type, byDefault, text]);
  return [['option', 'what', 'default', ''], ['---', '---', '---', '---'], ...cells]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`.replaceAll('|  |', '| |'))
    .join('\n');
}

function leaves(table, comments, group = '') {
  return Object.entries(table).flatMap(([key, entry]) => {
    const name = group + key;
    if (typeof entry.kind !== 'string') return leaves(entry, comments, `${name}.`);
    if (!(entry.kind in KINDS)) throw new Error(`no word for the kind ${entry.kind} of ${name}`);
    const { text, byDefault } = comments.get(name) ?? {};
    if (!text) throw new Error(`${name} has no comment`);
    const inTable = 'default' in entry ? quoted(entry.default) : byDefault;
    if (inTable !== byDefault) throw new Error(`the comment of ${name} says @default ${byDefault}: it is ${inTable}`);
    return [{ name, type: KINDS[entry.kind], byDefault: code(byDefault), text }];
  });
}

/** As a comment writes it. */
function quoted(value) {
  return typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
}

/** A value as code, with its digits grouped; words as they are. */
function code(text = '') {
  if (/^\d+$/.test(text)) return Number(text).toLocaleString('en-US');
  return /^(['{[]|true$|false$)/.test(text) && !/[;`]/.test(text) ? `\`${text}\`` : text;
}

/** Of each option of the table, by its name with its groups. */
function commentsOfTable(source) {
  const [, body = ''] = /^export const HANDOVER_OPTIONS = \{\n(.*?)^\} as const;/ms.exec(source) ?? [];
  const found = new Map();
  const groups = [];
  for (const [, comment, key, rest, end] of body.matchAll(
    /(?:\/\*\*(.*?)\*\/\s*)?(?:^ +(\w+): (\{ kind.*?\},$|\{$)|^ +(\},)$)/gms,
  )) {
    if (end) groups.pop();
    else if (rest === '{') groups.push(key);
    else found.set([...groups, key].join('.'), said(comment));
  }
  return found;
}

/** The members of an interface that have a comment. */
function membersOf(source, name) {
  const [, body = ''] = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n(.*?)^\\}`, 'ms').exec(source) ?? [];
  return [...body.matchAll(/\/\*\*(.*?)\*\/\s*readonly (\w+)\??: (.*?);$/gms)].map(([, comment, key, type]) => {
    const { text, byDefault } = said(comment);
    return { name: key, type: `\`${type}\``, byDefault: code(byDefault), text };
  });
}

/** A comment's text up to its first tag, and its default. */
function said(comment = '') {
  const plain = comment
    .replace(/^\s*\* ?/gm, '')
    .replace(/\s+/g, ' ')
    .trim();
  const [text = ''] = plain.split(/ ?@(?:default|example|deprecated)\b/);
  const [, byDefault] = /@default (.*?)(?: @|$)/.exec(plain) ?? [];
  return { text, byDefault };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { HANDOVER_OPTIONS } = await import('../dist/process/options.js');
  const page = optionsPage(HANDOVER_OPTIONS, (path) => readFileSync(new URL(path, root), 'utf8'));
  writeFileSync(new URL('docs/options.md', root), page);
}
