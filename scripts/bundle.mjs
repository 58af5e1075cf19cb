// Joins what a server loads into few files: `import 'handover'` reads 110 modules otherwise, at about half a millisecond each,
// before every successor can listen. Runs behind tsc, over its output in dist/: the entries are replaced by ones that load
// chunks, everything else stays where it is for the command, whose processes load none of the entries but `fd`, which keeps
// nothing but the addon. Without it, after a bare `tsc`, all works as well, only slower.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const entries = Object.values(exports).flatMap((entry) =>
  [...new Set(Object.values(entry))].flatMap((path) => (/\.js$/.test(path) ? [join(DIST, '..', path)] : [])),
);

/** Modules that must exist once in a process, whoever imports them: below all floors, and what `--import` preloads. */
const SINGLE = ['errors.js', 'events.js', 'observe/profile.js'];
const MARK = 'dist:';

const single = {
  name: 'single',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
      const inDist = join(resolveDir, path).slice(DIST.length);
      return SINGLE.includes(inDist) ? { path: MARK + inDist, external: true } : undefined;
    });
  },
};

const { outputFiles } = await build({
  entryPoints: entries,
  outdir: DIST,
  outbase: DIST,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'es2023',
  packages: 'external',
  plugins: [single],
  write: false,
  logLevel: 'warning',
});

rmSync(join(DIST, 'chunks'), { recursive: true, force: true });
mkdirSync(join(DIST, 'chunks'));
for (const { path, text } of outputFiles) {
  // Modules that look for files beside them are two folders deep in dist/, as chunks are, and most entries are not.
  if (join(dirname(path), '/') === DIST && text.includes('import.meta'))
    throw new Error(`${path}: import.meta in an entry`);
  const toDist = relative(dirname(path), DIST) || '.';
  writeFileSync(path, text.replaceAll(`"${MARK}`, `"${toDist}/`));
}
