// The package as its users get it: packed from a copy of the tree with a prebuilt addon, installed without scripts.
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { madeRun } from '../report/runs.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Compiling the addon on a small machine that runs another test file beside it. */
const BUILD_TIMEOUT = 240_000;

const QUIET = ['--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock'];

const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'handover-package-'));
const copy = join(scratch, 'copy');
const user = join(scratch, 'user');
const empty = join(scratch, 'empty');

async function run(cwd: string, file: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { NODE_OPTIONS: _, HANDOVER_PREBUILD: __, ...inherited } = process.env;
  try {
    const options = { cwd, env: { ...inherited, ...env }, maxBuffer: 1 << 26 };
    return (await promisify(execFile)(file, args, options)).stdout;
  } catch (error) {
    // Its message repeats all of this, and more.
    const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
    throw new Error(`${basename(file)} ${args.join(' ')} ended with ${code}\n${stdout}\n${stderr}`);
  }
}

const node = (cwd: string, args: string[], env?: NodeJS.ProcessEnv): Promise<string> =>
  run(cwd, process.execPath, args, env);

/** Runs a program of the package's user; returns what it printed as JSON. */
async function userProgram(program: string, env?: NodeJS.ProcessEnv): Promise<unknown> {
  return JSON.parse(await node(user, ['--input-type=module', '-e', program], env));
}

/** A file of a package that some other package brought into the same node_modules. */
function hoist(modules: string, path: string, text: string): void {
  mkdirSync(join(modules, path, '..'), { recursive: true });
  writeFileSync(join(modules, path), text);
}

let packed: string[] = [];

beforeAll(async () => {
  const files = await run(ROOT, 'git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard']);
  for (const path of files.split('\0')) {
    if (path !== '' && existsSync(join(ROOT, path))) cpSync(join(ROOT, path), join(copy, path));
  }
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const [{ filename, files: contents }] = JSON.parse(
    await run(copy, 'npm', ['--silent', 'pack', '--json', '--pack-destination', scratch]),
  ) as [{ filename: string; files: { path: string }[] }];
  packed = contents.map(({ path }) => path);

  mkdirSync(empty);
  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }\n');
  // Needs node-gyp-build from npm's cache or a registry; without either this fails, and says so.
  await run(user, 'npm', ['install', '--ignore-scripts', ...QUIET, join(scratch, filename)]);
}, BUILD_TIMEOUT);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('the packed package', () => {
  it('holds the compiled library with its types, the addon prebuilt and its sources, and nothing else', () => {
    const wanted = [
      'binding.gyp',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/fd/index.js',
      'dist/fd/index.d.ts',
      'dist/auto.js',
      'dist/report/browser/charts.js',
      'dist/report/browser/page.css',
      'dist/report/browser/uPlot.iife.min.js',
      'dist/report/browser/uPlot.min.css',
      'dist/report/browser/uPlot.LICENSE',
      'dist/tls.js',
      'dist/tls.d.ts',
      'dist/websocket.js',
      'dist/websocket.d.ts',
      'native/install.mjs',
      'docs/server.md',
      'headers/napi.h',
      'native/addon.cc',
    ];
    expect(wanted.filter((path) => !packed.includes(path))).toEqual([]);
    const binaries = packed.filter((path) => path.endsWith('.node'));
    expect(binaries).toEqual([expect.stringMatching(`^prebuilds/${process.platform}-${process.arch}/`)]);
    const belongs =
      /^(dist|docs|examples|headers|native|prebuilds)\/|^(package\.json|binding\.gyp|README\.md|LICENSE|CHANGELOG\.md)$/;
    expect(packed.filter((path) => !belongs.test(path) || path.includes('/build/'))).toEqual([]);
  });

  it('runs nothing when it is installed: package managers refuse or skip such scripts', () => {
    const { scripts, gypfile } = JSON.parse(readFileSync(join(user, 'node_modules/handover/package.json'), 'utf8'));
    expect(['preinstall', 'install', 'postinstall'].filter((name) => name in scripts)).toEqual([]);
    expect(gypfile).toBe(false);
  });

  it('is not packed without a binary of its sources', async () => {
    const source = join(copy, 'native/addon.cc');
    const text = readFileSync(source, 'utf8');
    writeFileSync(source, '#error it does not compile\n');
    const packing = run(copy, 'npm', ['pack', '--pack-destination', empty]);
    await expect(packing).rejects.toThrow(/not packed: there is no prebuilt addon for/);
    expect(readdirSync(empty)).toEqual([]);
    writeFileSync(source, text);
  });

  it(
    'compiles its addon where no prebuilt file fits, by `handover build`, whatever another package hoisted',
    async () => {
      const elsewhere = join(scratch, 'elsewhere/node_modules');
      cpSync(join(user, 'node_modules'), elsewhere, { recursive: true, verbatimSymlinks: true });
      rmSync(join(elsewhere, 'handover/prebuilds'), { recursive: true });
      hoist(elsewhere, 'node-addon-api/napi.h', '#error of another version\n');
      hoist(elsewhere, 'node-addon-api/index.js', 'exports.include_dir = __dirname;\n');
      hoist(elsewhere, 'node-gyp/bin/node-gyp.js', 'process.exit(1);\n');
      await node(elsewhere, [join(elsewhere, 'handover/dist/cli/main.js'), 'build']);
      const program = "import { socketpair } from 'handover/fd'; process.stdout.write(String(socketpair().length));";
      expect(await node(join(elsewhere, '..'), ['--input-type=module', '-e', program])).toBe('2');
    },
    BUILD_TIMEOUT,
  );

  it(
    'is installed where there is neither a compiler nor a prebuilt file, its scripts run',
    async () => {
      const stripped = join(scratch, 'stripped');
      cpSync(join(user, 'node_modules/handover'), stripped, { recursive: true });
      rmSync(join(stripped, 'prebuilds'), { recursive: true });
      const [{ filename }] = JSON.parse(
        await run(stripped, 'npm', ['--silent', 'pack', '--json', '--ignore-scripts']),
      ) as [{ filename: string }];
      const without = join(scratch, 'without');
      mkdirSync(without);
      writeFileSync(join(without, 'package.json'), '{ "private": true, "type": "module" }\n');
      const args = ['install', ...QUIET, '--foreground-scripts', join(stripped, filename)];
      await run(without, 'npm', args, { CC: 'false', CXX: 'false' });
      const program =
        "import { socketpair } from 'handover/fd'; try { socketpair(); } catch (error) { process.stdout.write(error.message); }";
      expect(await node(without, ['--input-type=module', '-e', program])).toMatch(
        /^no addon for .*: there is no prebuilt file and none was compiled \(npx handover build\)$/,
      );
      // Whoever asks for the addon itself is told that there is none.
      const building = run(without, join(without, 'node_modules/.bin/handover'), ['build'], {
        CC: 'false',
        CXX: 'false',
      });
      await expect(building).rejects.toThrow(
        /ended with 1\n[\s\S]*the addon was not compiled: [\s\S]*run: npx handover build/,
      );
    },
    BUILD_TIMEOUT,
  );

  it('passes a descriptor through the prebuilt addon', async () => {
    const result = await userProgram(`
      import { fstatSync, openSync, readFileSync } from 'node:fs';
      import { closeFds, recvFds, sendFds, socketpair } from 'handover/fd';
      const [a, b] = socketpair();
      const file = openSync('package.json');
      const sent = sendFds(a, Buffer.from('hello'), [file]);
      const { bytes, fds } = recvFds(b);
      const same = fstatSync(fds[0]).ino === fstatSync(file).ino && fds[0] !== file;
      const maps = process.platform === 'linux' ? readFileSync('/proc/self/maps', 'utf8') : '/handover/prebuilds/';
      const prebuilt = maps.includes('/handover/prebuilds/') && !maps.includes('build/Release');
      closeFds([a, b, file, ...fds]);
      process.stdout.write(JSON.stringify({ sent, bytes: bytes.toString(), fds: fds.length, same, prebuilt }));
    `);
    expect(result).toEqual({ sent: 5, bytes: 'hello', fds: 1, same: true, prebuilt: true });
  });

  it('brings the handover command', async () => {
    const stdout = await run(user, join(user, 'node_modules', '.bin', 'handover'), ['--help']);
    expect(stdout).toMatch(/^usage: handover COMMAND/);
  });

  it('makes a report, charts and all, without a development dependency', async () => {
    writeFileSync(join(user, 'data.json'), madeRun());
    await run(user, join(user, 'node_modules', '.bin', 'handover'), ['report', 'data.json']);
    const page = readFileSync(join(user, 'data.html'), 'utf8');
    expect(page).toContain('Leon Sorokin');
    expect(page).toMatch(/var uPlot=function/);
    expect(existsSync(join(user, 'node_modules', 'uplot'))).toBe(false);
  });

  it('is imported as a module, and required where Node can', async () => {
    const result = await userProgram(`
      import { createRequire } from 'node:module';
      import * as handover from 'handover';
      const required = createRequire(process.cwd() + '/x.js')('handover');
      const { serve, openHandover } = handover;
      const tlsIsLoaded = process.moduleLoadList.includes('NativeModule tls');
      const { reloadCertificates } = await import('handover/tls');
      const kinds = [serve, openHandover, reloadCertificates].map((value) => typeof value);
      // Without the ws package: it is the app's.
      await import('handover/websocket');
      process.stdout.write(JSON.stringify([kinds, required.serve === serve, tlsIsLoaded]));
    `);
    expect(result).toEqual([['function', 'function', 'function'], true, false]);
  });

  it('is loaded in few files: each costs a successor half a millisecond before it can listen', async () => {
    const loaded = await userProgram(`
      import { readFileSync } from 'node:fs';
      const files = new Set();
      const visit = (url) => {
        if (files.has(url.href)) return;
        files.add(url.href);
        const imports = readFileSync(url, 'utf8').matchAll(/^(?:import|export|})[^;()]*?"(\\.[^"]+)";$/gm);
        for (const [, path] of imports) visit(new URL(path, url));
      };
      visit(new URL(import.meta.resolve('handover')));
      process.stdout.write(JSON.stringify([...files]));
    `);
    expect((loaded as string[]).length).toBeGreaterThan(2);
    expect((loaded as string[]).length).toBeLessThan(15);
  });

  it('is preloaded by its name', async () => {
    const program = `
      import http from 'node:http';
      const server = http.createServer().listen(0, '127.0.0.1');
      const { listening } = server;
      server.close();
      process.stdout.write(JSON.stringify([listening, process.listenerCount('SIGUSR2')]));
    `;
    const args = ['--import', 'handover/auto', '--input-type=module', '-e', program];
    expect(JSON.parse(await node(user, args))).toEqual([true, 1]);
  });
});

describe('without a binary for the platform', () => {
  const noBinary = { HANDOVER_PREBUILD: empty };

  it('serve() listens plainly, and the process ends when told', async () => {
    const result = await userProgram(
      `
      import http from 'node:http';
      import { serve } from 'handover';
      const server = http.createServer((_, response) => response.end('plain'));
      await serve(server, { host: '127.0.0.1', port: 0 });
      const response = await fetch('http://127.0.0.1:' + server.address().port, { headers: { connection: 'close' } });
      process.stdout.write(JSON.stringify(await response.text()));
      process.kill(process.pid, 'SIGTERM');
      `,
      noBinary,
    );
    expect(result).toBe('plain');
  });

  it('the health endpoint answers', async () => {
    const result = await userProgram(
      `
      import http from 'node:http';
      import { openHandover } from 'handover';
      const handover = await openHandover({ health: { endpoint: { path: 'health.sock' } } });
      const probe = (path) => new Promise((resolve, reject) =>
        http.get({ socketPath: 'health.sock', path }, ({ statusCode }) => resolve(statusCode)).on('error', reject));
      await handover.listen(http.createServer(), { host: '127.0.0.1', port: 0 });
      await handover.ready();
      const codes = [await probe('/livez'), await probe('/readyz')];
      await handover.close();
      process.stdout.write(JSON.stringify([...codes, await probe('/livez').catch(({ code }) => code)]));
      `,
      noBinary,
    );
    expect(result).toEqual([200, 200, 'ENOENT']);
  });

  it('upgrade() rejects with ERR_HANDOVER_UNSUPPORTED, still serving', async () => {
    const result = await userProgram(
      `
      import { openHandover } from 'handover';
      const handover = await openHandover();
      await handover.ready();
      const error = await handover.upgrade().catch((error) => error);
      const { code, stillServing } = error;
      process.stdout.write(JSON.stringify({ code, stillServing, isError: error instanceof Error }));
      `,
      noBinary,
    );
    expect(result).toEqual({ code: 'ERR_HANDOVER_UNSUPPORTED', stillServing: true, isError: true });
  });

  it('handover/fd is imported, and its calls throw ERR_HANDOVER_UNSUPPORTED', async () => {
    const result = await userProgram(
      `
      import * as fd from 'handover/fd';
      const code = (call) => { try { call(); return 'no error'; } catch ({ code }) { return code; } };
      process.stdout.write(JSON.stringify([
        code(() => fd.socketpair()),
        code(() => fd.sendFds(0, Buffer.from('x'), [0])),
        code(() => fd.describeFd(0)),
        code(() => fd.bindListener({ host: '127.0.0.1', port: 0 })),
      ]));
      `,
      noBinary,
    );
    expect(result).toEqual(Array(4).fill('ERR_HANDOVER_UNSUPPORTED'));
  });
});
