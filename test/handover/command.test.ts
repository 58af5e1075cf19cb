// The command a successor is started with: the same program, run in the same way, wherever that is now.
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Program, type StartOptions, usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const { start, follow } = usePrograms();

const entry = (name: string): URL => new URL(`fixtures/entries/${name}`, import.meta.url);
const UNDER = new URL('fixtures/under.mjs', import.meta.url);

interface Serving {
  readonly pid: number;
  readonly entry: string;
  readonly generation: number;
  readonly port: number;
  readonly origin: string;
  readonly preloaded?: number;
  readonly execPath: string;
  readonly execArgv: readonly string[];
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly pwd?: string;
  readonly channel?: string;
  readonly argv0: string;
  /** APP_* of process.env at the start. */
  readonly variables: Readonly<Record<string, string>>;
}

/** Hands over once: what both generations said. The first is gone then; the second is ended. */
async function handsOver(program: Program): Promise<readonly [Serving, Serving]> {
  const first = await program.message<Serving>('serving');
  process.kill(first.pid, 'SIGUSR2');
  const second = await program.message<Serving>('serving');
  expect(second).toMatchObject({ generation: 2, origin: 'inherited', port: first.port, entry: first.entry });
  expect(second.pid).not.toBe(first.pid);
  const successor = follow(second.pid);
  expect(await program.exit()).toEqual({ code: 0, signal: null });
  expect(await answerOf(first.port)).toBe(`${second.pid}`);
  successor.signal('SIGTERM');
  await successor.gone();
  return [first, second];
}

async function answerOf(port: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })).text();
}

const run = (name: string, options: StartOptions = {}) => handsOver(start(entry(name), options));
describe('entries', () => {
  it('an ES module, with its arguments, directory and environment', async () => {
    const [first, second] = await run('esm.mjs', { args: ['--colour', 'a b', ''] });
    expect(second.argv).toEqual(first.argv);
    expect(second.argv.slice(2)).toEqual(['--colour', 'a b', '']);
    expect(second.cwd).toBe(first.cwd);
    // The library's own variable does not reach the app.
    expect(second.channel).toBeUndefined();
  });

  it('a CommonJS module', () => run('commonjs.cjs'));

  it('TypeScript through --import tsx', async () => {
    const execArgv = ['--import', import.meta.resolve('tsx')];
    const [, second] = await run('typescript.mts', { execArgv });
    expect(second.execArgv).toEqual(execArgv);
  });

  const strips = 'typescript' in process.features && Boolean(process.features.typescript);
  it.runIf(strips)("TypeScript by Node's own type stripping", () => run('typescript.mts'));
});

describe("Node's own arguments", () => {
  it('--import is kept, and takes effect', async () => {
    const execArgv = [`--import=${entry('preload.mjs')}`, '--stack-trace-limit=50'];
    const [first, second] = await run('esm.mjs', { execArgv });
    expect(first.preloaded).toBe(1);
    expect(second).toMatchObject({ preloaded: 1, execArgv });
  });

  it.each([
    [['--inspect=0']],
    [['--inspect=127.0.0.1:0']],
    [['--inspect', '--inspect-port=0']],
    [['--inspect', '--inspect-port', '0']],
    [['--inspect=0', '--inspect-publish-uid=stderr,http']],
  ])('%j is not handed on: two inspectors cannot share a port', async (inspect) => {
    const execArgv = [...inspect, '--stack-trace-limit=50'];
    const program = start(entry('esm.mjs'), { execArgv });
    const [, second] = await handsOver(program);
    expect(second.execArgv).toEqual(['--stack-trace-limit=50']);
    expect(program.stderr.match(/Debugger listening/g)).toHaveLength(1);
  });
});

describe('what the app has changed in itself is not what its successor is started with', () => {
  /** More than a page of the kernel's. */
  const large = 'x'.repeat(100_000);
  const env = { APP_SECRET: 's', APP_CHANGED: 'at the start', APP_LARGE: large, APP_LINES: 'a\nb=c', APP_EMPTY: '' };
  const { APP_SECRET, APP_CHANGED, APP_LARGE, APP_LINES, APP_EMPTY } = env;

  it.each([
    ['and directory, where the package is imported before', 'early', './preload.mjs', '.env'],
    // Nobody knows which directory it was then.
    ['also where the package is imported afterwards', 'late', undefined, undefined],
  ])('environment, title %s', async (_name, when, preload, file) => {
    const cwd = temporaryFolder();
    writeFileSync(join(cwd, 'preload.mjs'), 'globalThis.preloaded = 1;\n');
    writeFileSync(join(cwd, '.env'), 'APP_FILE=one\n');
    // Relative to a directory the app leaves.
    const execArgv = ['--import', preload ?? join(cwd, 'preload.mjs'), `--env-file=${file ?? join(cwd, '.env')}`];
    const program = start(entry('changing.mjs'), { args: [when, 'an', 'entry'], execArgv, env, cwd });
    const first = await program.message<Serving>('serving');
    expect(first).toMatchObject({ cwd, entry: 'an entry', variables: { APP_FILE: 'one' } });
    // A third generation gets what the second was started with.
    let last = first;
    for (const APP_FILE of ['two', 'three']) {
      writeFileSync(join(cwd, '.env'), `APP_FILE=${APP_FILE}\n`);
      process.kill(last.pid, 'SIGUSR2');
      last = await program.message<Serving>('serving');
      follow(last.pid);
      expect(last).toMatchObject({ entry: 'an entry', preloaded: 1, origin: 'inherited' });
      if (when === 'early') expect(last.cwd).toBe(cwd);
      expect(last.variables).toEqual({ APP_SECRET, APP_CHANGED, APP_LARGE, APP_LINES, APP_EMPTY, APP_FILE });
    }
    expect(last.generation).toBe(3);
    await end(last);
  });

  it('successor.env comes on top, and may be a function, asked for every handover', async () => {
    const program = start(entry('environment.mjs'), { env: { APP_KEPT: 'k', APP_REMOVED: 'r' } });
    const first = await program.message<Serving>('serving');
    expect(first.variables).toEqual({ APP_KEPT: 'k', APP_REMOVED: 'r' });
    process.kill(first.pid, 'SIGUSR2');
    const second = await program.message<Serving>('serving');
    expect(second.variables).toEqual({ APP_KEPT: 'k', APP_GENERATION: '2' });
    process.kill(second.pid, 'SIGUSR2');
    const third = await program.message<Serving>('serving');
    expect(third.variables).toEqual({ APP_KEPT: 'k', APP_GENERATION: '3' });
    await end(third);
  });

  it('a successor.env that fails is a failed handover: nothing is started, it serves on', async () => {
    const program = start(entry('environment.mjs'), { env: { APP_REMOVED: 'refuse' } });
    const { pid, port } = await program.message<Serving>('serving');
    process.kill(pid, 'SIGUSR2');
    expect(await program.message('failed')).toMatchObject({
      code: 'ERR_HANDOVER_SPAWN_FAILED',
      message: 'successor.env failed: no vault',
      phase: 'PREPARE',
      stillServing: true,
    });
    expect(await answerOf(port)).toBe(`${pid}`);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  });

  it.runIf(process.getuid?.() === 0)('a process that has dropped its privileges since', async () => {
    const program = start(entry('dropping.mjs'), { env: { APP_SECRET: 's' } });
    const [, second] = await handsOver(program);
    expect(second.variables).toEqual({ APP_SECRET: 's' });
  });

  /** Ends the last generation, and waits for those before it. */
  async function end({ pid }: Serving): Promise<void> {
    const successor = follow(pid);
    successor.signal('SIGTERM');
    await successor.gone();
  }
});

describe('where the program is now', () => {
  it('a `current` link that was switched starts the new release', async () => {
    const folder = temporaryFolder();
    for (const release of ['one', 'two']) {
      mkdirSync(join(folder, release));
      const main = JSON.stringify(entry('main.mjs').href);
      const lib = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);
      const code = `import * as lib from ${lib};\nimport { main } from ${main};\nawait main(lib, '${release}');\n`;
      writeFileSync(join(folder, release, 'app.mjs'), code);
    }
    symlinkSync('one', join(folder, 'current'));
    // As a shell does: PWD is where the user went, through the link.
    const command = ['sh', '-c', 'cd "$0" && exec "$1" app.mjs', join(folder, 'current'), process.execPath];
    const program = start(UNDER, { args: command });
    const first = await program.message<Serving>('serving');
    expect(first).toMatchObject({ entry: 'one', cwd: join(folder, 'one') });
    unlinkSync(join(folder, 'current'));
    symlinkSync('two', join(folder, 'current'));
    process.kill(first.pid, 'SIGUSR2');
    const second = await program.message<Serving>('serving');
    expect(second).toMatchObject({ entry: 'two', cwd: join(folder, 'two'), generation: 2, origin: 'inherited' });
    const successor = follow(second.pid);
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    successor.signal('SIGTERM');
    await successor.gone();
  });

  describe('the node of a release, of which the old one is pruned', () => {
    /** Releases with a node of their own, and a way to start `current`. */
    function releases(): { readonly folder: string; readonly current: string; switchTo(release: string): void } {
      const folder = temporaryFolder();
      const current = join(folder, 'current');
      const add = (release: string): void => {
        mkdirSync(join(folder, release));
        copyOrLink(process.execPath, join(folder, release, 'node'));
        const main = JSON.stringify(entry('main.mjs').href);
        const lib = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);
        const code = `import * as lib from ${lib};\nimport { main } from ${main};\nawait main(lib, '${release}');\n`;
        writeFileSync(join(folder, release, 'server.mjs'), code);
      };
      add('one');
      symlinkSync('one', current);
      return {
        folder,
        current,
        switchTo(release) {
          const old = realpathSync(current);
          add(release);
          symlinkSync(release, `${current}.new`);
          renameSync(`${current}.new`, current);
          rmSync(old, { recursive: true });
        },
      };
    }

    it.each([
      ['current/node current/server.mjs', 'cd "$0" && exec current/node current/server.mjs'],
      ['its absolute path', 'exec "$0/current/node" "$0/current/server.mjs"'],
      ['inside of current', 'cd "$0/current" && exec ./node server.mjs'],
      ['current first in PATH', 'cd "$0" && PATH="$0/current:$PATH" exec node current/server.mjs'],
      ['a relative PATH', 'cd "$0" && PATH="current:$PATH" exec node current/server.mjs'],
    ])('%s', async (_name, script) => {
      const { folder, switchTo } = releases();
      const program = start(UNDER, { args: ['sh', '-c', script, folder] });
      let last = await program.message<Serving>('serving');
      expect(last).toMatchObject({ entry: 'one', execPath: join(folder, 'one/node') });
      const { argv0 } = last;
      for (const release of ['two', 'three']) {
        switchTo(release);
        process.kill(last.pid, 'SIGUSR2');
        last = await program.message<Serving>('serving');
        follow(last.pid);
        expect(last).toMatchObject({
          entry: release,
          execPath: join(folder, release, 'node'),
          origin: 'inherited',
          argv0,
        });
      }
      process.kill(last.pid, 'SIGTERM');
      await follow(last.pid).gone();
    });

    it('what argv[0] says is not believed where it leads to another program', async () => {
      // As `exec -a sh node server.mjs`: a title, not a command.
      const program = start(new URL('fixtures/titled.mjs', import.meta.url), {
        args: [fileURLToPath(entry('esm.mjs'))],
      });
      const [first, second] = await handsOver(program);
      expect(first.argv0).toBe('sh');
      expect(second.execPath).toBe(first.execPath);
    });
  });

  it('ERR_HANDOVER_COMMAND_NOT_FOUND: the node it runs on has vanished; nothing is started, it serves on', async () => {
    const node = join(temporaryFolder(), 'node');
    copyOrLink(process.execPath, node);
    const program = start(UNDER, { args: [node, fileURLToPath(entry('esm.mjs'))] });
    const first = await program.message<Serving>('serving');
    expect(first.execPath).toBe(node);
    unlinkSync(node);
    const app = follow(first.pid);
    app.signal('SIGUSR2');
    expect(await program.message('failed')).toMatchObject({
      code: 'ERR_HANDOVER_COMMAND_NOT_FOUND',
      message: expect.stringContaining(node),
      phase: 'PREPARE',
      stillServing: true,
    });
    expect(await answerOf(first.port)).toBe(`${first.pid}`);
    // And once it is back, the next attempt succeeds.
    copyOrLink(process.execPath, node);
    app.signal('SIGUSR2');
    const second = await program.message<Serving>('serving');
    const successor = follow(second.pid);
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    successor.signal('SIGTERM');
    await successor.gone();
  });

  it('a node that was started through a link is found where it is, also when the link has vanished', async () => {
    const node = join(temporaryFolder(), 'node');
    symlinkSync(process.execPath, node);
    const program = start(UNDER, { args: [node, fileURLToPath(entry('esm.mjs'))] });
    const { pid } = await program.message<Serving>('serving');
    unlinkSync(node);
    process.kill(pid, 'SIGUSR2');
    const second = await program.message<Serving>('serving');
    expect(second).toMatchObject({ generation: 2, execPath: realpathSync(process.execPath) });
    const successor = follow(second.pid);
    await program.exit();
    successor.signal('SIGTERM');
    await successor.gone();
  });
});

function copyOrLink(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
