// The package in a bundle: with its files installed beside it a bundled server hands over, without them it serves plainly.
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '../../lib/fd/package.js';
import { AUTO } from '../auto/preloaded.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { type Program, type StartOptions, usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const { start, follow } = usePrograms();

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'handover-bundles-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Where a bundle is run: what is installed beside it. */
const PLACES = { beside: join(scratch, 'beside'), alone: join(scratch, 'alone'), other: join(scratch, 'other') };
type Endpoint = keyof typeof PLACES;
type Kind = 'inlined' | 'external';
const ENTRIES = ['serves', 'preloads'] as const;
const FORMATS = ['esm', 'cjs'] as const;
const ways = ENTRIES.flatMap((entry) => FORMATS.map((format) => [entry, format] as const));
const bundle = (place: Endpoint, kind: Kind, entry: string, format: string): URL =>
  pathToFileURL(join(PLACES[place], `${kind}-${entry}.${format === 'esm' ? 'mjs' : 'cjs'}`));

async function makeBundle(kind: Kind, entry: string, format: 'esm' | 'cjs'): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`fixtures/${entry}.mjs`, import.meta.url))],
    bundle: true,
    platform: 'node',
    format,
    minify: kind === 'inlined',
    external: kind === 'external' ? ['handover'] : [],
    write: false,
    logLevel: 'error',
  });
  for (const place of Object.keys(PLACES) as Endpoint[]) {
    for (const { contents } of outputFiles) writeFileSync(bundle(place, kind, entry, format), contents);
  }
}

beforeAll(async () => {
  for (const folder of Object.values(PLACES)) mkdirSync(folder);
  const installed = join(PLACES.beside, 'node_modules');
  mkdirSync(installed);
  symlinkSync(ROOT, join(installed, 'handover'));
  const other = join(PLACES.other, 'node_modules/handover');
  mkdirSync(other, { recursive: true });
  writeFileSync(join(other, 'package.json'), '{ "name": "handover", "version": "9.9.9" }');
  for (const [entry, format] of ways) {
    await makeBundle('inlined', entry, format);
    await makeBundle('external', entry, format);
  }
});

interface Answer {
  readonly pid: number;
  readonly code?: string;
  readonly message?: string;
}

const get = (port: number, path = '/'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, agent: false }, async (response) => {
      resolve(JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as Answer);
    });
    request.on('error', reject);
  });

interface Running {
  readonly program: Program;
  readonly port: number;
  readonly pid: number;
}

async function run(program: URL, { env, ...options }: StartOptions = {}): Promise<Running> {
  const port = freePort();
  const HANDOVER_AUTO = '{"probation":{"duration":0}}';
  const started = start(program, {
    ...options,
    env: { HANDOVER_AUTO, HANDOVER_PREBUILD: undefined, PORT: `${port}`, ...env },
  });
  const { pid } = await started.message<Answer>('serves');
  return { program: started, port, pid };
}

/** Hands over three times by SIGUSR2: another process answers each time, and the one before is gone. Ends the last one. */
async function handOverThrice({ program, port, pid }: Running): Promise<void> {
  const pids = [pid];
  let current = follow(pid);
  for (let count = 0; count < 3; count++) {
    expect((await get(port)).pid).toBe(current.pid);
    current.signal('SIGUSR2');
    const next = follow((await program.message<Answer>('serves')).pid);
    await current.gone();
    current = next;
    pids.push(current.pid);
  }
  expect((await get(port)).pid).toBe(current.pid);
  expect(new Set(pids).size).toBe(4);
  current.signal('SIGTERM');
  await current.gone();
  expect(program.stderr).toBe('');
}

describe.each(ways)('%s, bundled as %s', (entry, format) => {
  it.each<Kind>([
    'external',
    'inlined',
  ])('hands over three times, %s, with the package installed beside it', async (kind) => {
    await handOverThrice(await run(bundle('beside', kind, entry, format)));
  });

  it.each([
    ['alone', 'has no such package beside it'],
    ['other', 'has 9.9.9 beside it'],
  ] as const)('serves plainly where it is %s, and says why and the way out in one line', async (place, why) => {
    const profile = join(scratch, 'start.cpuprofile');
    const running = await run(bundle(place, 'inlined', entry, format), { env: { HANDOVER_PROFILE: profile } });
    const { program, port, pid } = running;
    const message =
      `no addon for ${process.platform}-${process.arch}: this is a bundle of handover ${VERSION} and ${why}: ` +
      'mark handover external (esbuild: --external:handover), and install it where the bundle runs';
    expect(program.stderr).toBe(`handover[${pid}]: cannot hand over, because there is ${message}\n`);
    const answer = await get(port, '/upgrade');
    expect(answer.pid).toBe(pid);
    if (entry === 'serves') expect(answer).toEqual({ pid, code: 'ERR_HANDOVER_UNSUPPORTED', message });
    program.child.kill('SIGUSR2');
    await program.errorLine(/the handover failed .*--external:handover/);
    expect((await get(port)).pid).toBe(pid);
    expect(await program.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});

describe('handover/auto in a bundle', () => {
  it('hands over where its options load more of it', async () => {
    const audit = join(scratch, 'audit.log');
    const HANDOVER_AUTO = JSON.stringify({ probation: { duration: 0 }, audit });
    await handOverThrice(await run(bundle('beside', 'inlined', 'preloads', 'cjs'), { env: { HANDOVER_AUTO } }));
    expect(readFileSync(audit, 'utf8').match(/"completed"/g)?.length).toBeGreaterThanOrEqual(3);
  });

  it.each(FORMATS)('is one with what --import loads beside it (%s)', async (format) => {
    const options = { execArgv: ['--import', AUTO] };
    await handOverThrice(await run(bundle('beside', 'inlined', 'preloads', format), options));
  });
});

it.each(FORMATS)('every entry of the package loads in a bundle that has nothing beside it (%s)', async (format) => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: object };
  const names = Object.keys(exports).filter((name) => name !== './package.json');
  const lines = names.map((name, i) => `import * as m${i} from '${name.replace('.', 'handover')}';`);
  const type = `process.stdout.write(JSON.stringify({ type: 'loaded', entries: [${names.map((_, i) => `m${i}`)}].length }));`;
  const file = join(PLACES.alone, `all.${format === 'esm' ? 'mjs' : 'cjs'}`);
  await build({
    stdin: { contents: [...lines, type].join('\n'), resolveDir: ROOT },
    bundle: true,
    platform: 'node',
    format,
    outfile: file,
    logLevel: 'error',
  });
  const program = start(pathToFileURL(file));
  expect(await program.exit()).toEqual({ code: 0, signal: null });
  expect([JSON.parse(program.stdout), program.stderr]).toEqual([{ type: 'loaded', entries: names.length }, '']);
});

it('the version in the sources is that of the package', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(VERSION).toBe(version);
});
