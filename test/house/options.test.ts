// The pages about options say what the tables in lib/ say.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { OLD_FORMS, OLD_OPTIONS } from '../../lib/process/old-spellings.js';
import { HANDOVER_OPTIONS } from '../../lib/process/options.js';
import { optionsPage } from '../../scripts/options.mjs';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

describe('docs/options.md', () => {
  it('is what `npm run docs:options` writes', () => {
    expect(read('docs/options.md')).toBe(optionsPage(HANDOVER_OPTIONS, read));
  });

  it('has each option of the table', () => {
    for (const [name, entry] of Object.entries(HANDOVER_OPTIONS)) {
      const names = 'kind' in entry ? [name] : Object.keys(entry).map((member) => `${name}.${member}`);
      for (const option of names) expect(read('docs/options.md')).toContain(`| \`${option}\` |`);
    }
  });

  const changed = (from: string, to: string): (() => string) => {
    expect(read('lib/process/options.ts')).toContain(from);
    return () =>
      optionsPage(HANDOVER_OPTIONS, (path: string) =>
        path === 'lib/process/options.ts' ? read(path).replace(from, to) : read(path),
      );
  };

  it('is stale when a comment changes', () => {
    expect(changed('A file to which the process in charge writes its pid.', 'A file.')()).not.toBe(
      read('docs/options.md'),
    );
  });

  it('cannot be written with a default that is not the one of the table, or without a comment', () => {
    expect(changed('@default 60000', '@default 50000')).toThrow('readyTimeout says @default 50000: it is 60000');
    expect(changed('/** A file that gets one line of JSON for each handover, when it is over. */', '')).toThrow(
      'audit has no comment',
    );
  });
});

describe('docs/UPGRADING.md', () => {
  it('has each old spelling of an option, and the one of now', () => {
    const rows = [...read('docs/UPGRADING.md').matchAll(/^\| (`\w+`.*?) \| `([\w.]+)` \|$/gm)];
    const old = Object.entries(OLD_OPTIONS).map(([name, now]) => {
      const form = Object.entries(OLD_FORMS).find(([one]) => one === name)?.[1];
      return [form === undefined ? `\`${name}\`` : `\`${name}\` as a ${form}`, now];
    });
    expect(rows.map(([, from, to]) => [from, to])).toEqual(old);
  });
});
