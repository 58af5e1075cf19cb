// Links and headings of Markdown as functions: text comes in, broken links go out as sentences.
import { posix } from 'node:path';

/** What a link may lead to: the text of a file, `true` for a folder or another file, undefined where there is nothing. */
export type Lookup = (path: string) => string | true | undefined;

/** The text without its code blocks: what looks like a link or a heading in them is none. */
function prose(text: string): string {
  return text.replaceAll(/^(```|~~~).*?^\1 *$/gms, '');
}

/** The anchors of a text, as GitHub makes them of its headings. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of prose(text).matchAll(/^#{1,6} +(.*?) *$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n += 1) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Relative links of a text, pictures included, and those within the page. */
export function linksOf(text: string): string[] {
  const links = prose(text)
    .replaceAll(/`[^`\n]*`/g, '')
    .matchAll(/\]\(([^()\s]+)\)/g);
  return [...links].flatMap(([, to = '']) => (/^[a-z]+:/.test(to) ? [] : [to]));
}

/** The links of the file at `path` that lead nowhere. */
export function brokenLinks(path: string, text: string, lookup: Lookup): string[] {
  return linksOf(text).flatMap((link) => {
    const [to = '', anchor] = link.split('#');
    const target = to === '' ? path : posix.join(posix.dirname(path), to);
    const found = to === '' ? text : lookup(target);
    if (found === undefined) return [`${path} links to ${link}: there is no ${target}`];
    if (anchor === undefined) return [];
    const isThere = typeof found === 'string' && anchorsOf(found).has(anchor);
    return isThere ? [] : [`${path} links to ${link}: there is no heading #${anchor}`];
  });
}
