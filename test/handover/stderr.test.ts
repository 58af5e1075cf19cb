// The successor's stderr: through the predecessor until it is ready, then the real one, so that nobody dies of EPIPE.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { boot, type Inside, useApps } from './apps.js';

expectNoLeaks();
const { chain, dialled, follow, start } = useApps();

const TEN_MEGABYTES = 10_000_000;
const APP = fileURLToPath(new URL('fixtures/app.mjs', import.meta.url));
const WRITE_STDERR = new URL('../../dist/platform/write-stderr.js', import.meta.url).href;
const WRITE_NOW = new URL('../../dist/fd/write-now.js', import.meta.url).href;
const UNDER = new URL('fixtures/under.mjs', import.meta.url);
const STALLED = new URL('fixtures/stalled.mjs', import.meta.url);
/** More than any pipe, socket or terminal holds, and than waits for a slow reader. */
const MEGABYTE = 1_000_000;

const talks = boot(async (inside) => {
  process.stderr.write(`loading ${process.pid}\n`);
  await inside.open({ probation: { duration: 0 } });
  await inside.listen('http', { port: 0, host: '127.0.0.1' });
  process.stderr.write(`loaded ${process.pid}\n`);
  await inside.handover.ready();
  process.stderr.write(`ready ${process.pid}\n`);
});

/** Fills stderr while it loads. */
const loud = boot(async (inside, bytes) => {
  await inside.open({ probation: { duration: 0 } });
  inside.say('filling');
  let text = '';
  for (let i = 0; i < bytes / 10; i++) text += `${String(i).padStart(9, '0')}\n`;
  await new Promise((resolve) => process.stderr.write(text, resolve));
  await inside.listen('http', { port: 0, host: '127.0.0.1' });
  await inside.handover.ready();
}, TEN_MEGABYTES);

/** Serves; told to, it hands over to one that fills stderr while it loads. */
const serves = boot(async (inside) => {
  await inside.open({ probation: { duration: 0 } });
  inside.say('listening', await inside.listen('http', { port: 0, host: '127.0.0.1' }));
  await inside.handover.ready();
});

/** Ten bytes a line, numbered, so that what is missing shows; resolves when the kernel has all of it. */
const writeMuch = (_inside: Inside, bytes: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let text = '';
    for (let i = 0; i < bytes / 10; i++) text += `${String(i).padStart(9, '0')}\n`;
    process.stderr.write(text, (error) => (error ? reject(error) : resolve()));
  });

function expectMuch(text: string): void {
  const numbers = text.split('\n').filter((line) => /^\d{9}$/.test(line));
  expect(numbers.length).toBe(TEN_MEGABYTES / 10);
  expect(numbers.every((number, i) => Number(number) === i)).toBe(true);
}

it('what a successor says while it loads comes out of the first process', async () => {
  const { chain: processes, first } = await chain(talks);
  const { pid } = await first.upgrade();
  const second = await processes.generation(2);
  await first.gone();
  await processes.program.errorLine(new RegExp(`^loading ${pid}$`));
  await processes.program.errorLine(new RegExp(`^loaded ${pid}$`));
  await processes.program.errorLine(new RegExp(`^ready ${pid}$`));
  await second.close();
});

it.runIf(process.platform === 'linux')(
  'a successor that is ready writes to the very file the first process writes to',
  async () => {
    const { chain: processes, first } = await chain(talks);
    const stderr = () => first.run(({ descriptors }) => descriptors().find((line) => line.startsWith('2: ')));
    const real = await stderr();
    await first.upgrade();
    const second = await processes.generation(2);
    const links = await second.run(({ descriptors }) => descriptors());
    expect(links.find((line) => line.startsWith('2: '))).toBe(real);
    await second.upgrade();
    const third = await processes.generation(3);
    expect((await third.run(({ descriptors }) => descriptors())).find((line) => line.startsWith('2: '))).toBe(real);
    await second.gone();
    await third.close();
  },
);

it('G2: 10 MB to stderr when the predecessor is gone all arrive, and nobody dies of EPIPE', async () => {
  const { chain: processes, first } = await chain(talks);
  await first.upgrade();
  const second = await processes.generation(2);
  await first.gone();
  await second.run(writeMuch, TEN_MEGABYTES);
  await second.close();
  await processes.program.closed;
  expectMuch(processes.program.stderr);
});

it('G2: 10 MB to stderr while it loads all arrive, too', async () => {
  const { chain: processes, first } = await chain([talks, loud]);
  await first.upgrade();
  await first.gone();
  await (await processes.generation(2)).close();
  await processes.program.closed;
  expectMuch(processes.program.stderr);
});

it('G5: whoever reads stderr goes away while a successor fills it: neither process dies of that', async () => {
  const { env, generation } = await dialled([talks, loud]);
  const fifo = join(mkdtempSync(join(tmpdir(), 'handover-')), 'leave');
  onTestFinished(() => rmSync(dirname(fifo), { recursive: true }));
  execFileSync('mkfifo', [fifo]);
  // Reads nothing of what is written, and goes away on a line.
  const command = ['sh', '-c', `"$0" "$@" 2>&1 >/dev/null | { read line < "${fifo}"; }`, process.execPath, APP];
  const program = start(UNDER, { args: command, env });
  const first = await generation(1);
  await first.booted;
  const upgrade = first.upgrade();
  // The pipe is full when the new process has filled the one in between, too, and does not get on.
  const second = await generation(2);
  await second.said('filling');
  writeFileSync(fifo, 'leave\n');
  const { pid } = await upgrade;
  expect(second.pid).toBe(pid);
  await first.gone();
  await second.close();
  expect(await program.exit()).toEqual({ code: 0, signal: null });
});

it('stderr is a file: the successor appends to it, nothing is overwritten', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'log');
  const { env, generation } = await dialled(talks);
  const command = ['sh', '-c', `exec "$0" "$@" 2> "${file}"`, process.execPath, APP];
  const program = start(UNDER, { args: command, env });
  const first = await generation(1);
  await first.booted;
  await first.upgrade();
  const second = await generation(2);
  expect(await program.exit()).toEqual({ code: 0, signal: null });
  await second.run(writeMuch, TEN_MEGABYTES);
  await second.close();
  // What it said last before it was ready may come after what it said then: it takes the way through the predecessor.
  const text = readFileSync(file, 'utf8');
  for (const { pid } of [first, second]) {
    for (const word of ['loading', 'loaded', 'ready']) expect(text.split('\n')).toContain(`${word} ${pid}`);
  }
  expectMuch(text);
});

describe('G5: nobody reads stderr', () => {
  const kinds = ['pipe', 'socket', 'terminal'] as const;
  const hasPython = spawnSync('python3', ['--version']).status === 0;

  /** Answers of the server at this port until it is told to stop: how many came, and the longest wait for one. */
  function visits(port: number): () => Promise<{ readonly answered: number; readonly longest: number }> {
    let isOver = false;
    const made = (async () => {
      let [answered, longest] = [0, 0];
      while (!isOver) {
        const since = performance.now();
        const signal = AbortSignal.timeout(8_000);
        await (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' }, signal })).text();
        longest = Math.max(longest, performance.now() - since);
        answered++;
      }
      return { answered, longest };
    })();
    made.catch(() => {});
    return () => {
      isOver = true;
      return made;
    };
  }

  it.each(kinds)('%s: the old process answers while the new one fills it, and is replaced', async (kind) => {
    // Loudly: there is no other way to a terminal here.
    if (kind === 'terminal' && !hasPython) throw new Error('needs python3');
    const { env, generation } = await dialled([serves, { ...loud, args: [MEGABYTE] }, serves]);
    const program = start(STALLED, { args: [kind, process.execPath, APP], env });
    const first = await generation(1);
    await first.booted;
    const { address } = await first.said<{ address: { port: number } }>('listening');
    const end = visits(address.port);
    await first.upgrade();
    await first.gone();
    const second = await generation(2);
    await second.upgrade();
    await second.gone();
    const { answered, longest } = await end();
    expect(answered).toBeGreaterThan(10);
    expect(longest).toBeLessThan(5_000);
    await (await generation(3)).close();
    expect(await program.exit()).toEqual({ code: 0, signal: null });
  });

  it.each([
    'pipe',
    'socket',
  ])('%s: what the app itself writes blocks it no more than before a handover', async (kind) => {
    const { env, generation } = await dialled([serves, boot(() => process.exit(3))]);
    const program = start(STALLED, { args: [kind, process.execPath, APP], env });
    const first = await generation(1);
    await first.booted;
    // Node makes them non-blocking, each when it is first used.
    await first.run(() => process.stdout.write('') && process.stderr.write(''));
    await expect(first.upgrade()).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', exitCode: 3 });
    const waits = await first.run(() => {
      // As an access log: what does not fit waits in memory.
      for (const stream of [process.stdout, process.stderr])
        for (let i = 0; i < 500; i++) stream.write('x'.repeat(1_000));
      return [process.stdout.writableLength > 0, process.stderr.writableLength > 0];
    });
    expect(waits).toEqual([true, true]);
    // What waits for the reader would keep it.
    await first.run(({ handover }) => void handover.close().then(() => process.exit(0)));
    expect(await program.exit()).toEqual({ code: 0, signal: null });
  });

  it('nothing is lost where it was this process that had no turn for as long, and not the reader', async () => {
    const { chain: processes, first } = await chain(serves);
    const filled = await first.run(
      async ({ load }, ours, addon) => {
        const { writeStderr } = (await load(ours)) as { writeStderr(bytes: Uint8Array): boolean };
        const { writeNow } = (await load(addon)) as { writeNow(fd: number, bytes: Uint8Array): number };
        const hasRoom = (): boolean => {
          try {
            return writeNow(2, Buffer.from('.')) === 1;
          } catch {
            return false;
          }
        };
        // More than the reader takes at once; then no turn until it has taken of it, and would count as stalled.
        let bytes = 100_000;
        while (writeStderr(Buffer.alloc(100_000, 'x'))) bytes += 100_000;
        const pause = new Int32Array(new SharedArrayBuffer(4));
        const start = performance.now();
        while (performance.now() - start < 1_100 || !hasRoom()) Atomics.wait(pause, 0, 0, 50);
        writeStderr(Buffer.alloc(200_000, 'y'));
        return bytes;
      },
      WRITE_STDERR,
      WRITE_NOW,
    );
    await first.close();
    await processes.program.closed;
    const { stderr } = processes.program;
    expect([...'xy'].map((letter) => stderr.split(letter).length - 1)).toEqual([filled, 200_000]);
    expect(stderr).not.toContain('lost');
  });

  it('what was lost is counted in its place, once somebody reads again', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const loudAndGone = boot(async (_inside, bytes) => {
      await new Promise((resolve) => process.stderr.write(`${'x'.repeat(99)}\n`.repeat(bytes / 100), resolve));
      process.exit(3);
    }, MEGABYTE);
    const { env, generation } = await dialled([serves, loudAndGone]);
    const program = start(UNDER, { args: ['sh', '-c', `exec "$0" "$@" 2> "${path}"`, process.execPath, APP], env });
    const first = await generation(1);
    await first.booted;
    await expect(first.upgrade()).rejects.toMatchObject({ exitCode: 3 });
    let stdout = '';
    const cat = spawn('cat', [path]);
    const closed = once(cat, 'close');
    cat.stdout.setEncoding('latin1').on('data', (chunk) => {
      stdout += chunk;
    });
    // A process that ends does not wait long for a reader that is late.
    await until(() => stdout.includes('were lost here'), { what: 'the note' });
    closeSync(reader);
    await first.close();
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    await closed;
    const [note, lost] =
      /\nhandover\[\d+\]: (\d+) bytes for stderr were lost here: its reader had stalled\n/.exec(stdout) ?? [];
    const [before = '', after = ''] = stdout.split(note ?? '');
    expect(before.length + Number(lost) + after.length).toBe(MEGABYTE);
    expect(Number(lost)).toBeGreaterThan(0);
  });
});

describe('a helper that a successor starts while it loads', () => {
  /** Writes to stderr what it is told at a path, and answers how that went. */
  const helping = boot(async (inside, path) => {
    await inside.open({ probation: { duration: 0 } });
    if (inside.handover.generation === 2) {
      const { spawn } = process.getBuiltinModule('node:child_process');
      const code = `
        net.createServer({ allowHalfOpen: true }, (socket) => socket.on('data', (told) => {
          if (String(told) === 'end') return process.exit();
          try { fs.writeSync(2, 'helper: ' + told + '\\n'); socket.end('written'); } catch ({ code }) { socket.end(code); }
        })).listen(process.argv[1], () => console.log(process.pid));`;
      const helper = spawn(process.execPath, ['-e', code, path], {
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      });
      inside.say('helper', Number(await new Promise((resolve) => helper.stdout.once('data', resolve))));
      helper.stdout.destroy();
      helper.unref();
    }
    await inside.listen('http', { port: 0, host: '127.0.0.1' });
    await inside.handover.ready();
  }, '');

  it('writes to the same stderr through every generation, also when those that read for it are gone', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'helper.sock');
    const tell = (word: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(path).on('error', reject);
        let answer = '';
        socket.on('data', (data) => {
          answer += data;
        });
        socket.on('close', () => resolve(answer));
        socket.write(word);
      });
    const { chain: processes, first } = await chain({ ...helping, args: [path] });
    let older = first;
    for (const generation of [2, 3, 4]) {
      await older.upgrade();
      const younger = await processes.generation(generation);
      if (generation === 2) follow(await younger.said<number>('helper'));
      expect(await tell(`while ${generation} is young`)).toBe('written');
      await processes.program.errorLine(new RegExp(`^helper: while ${generation} is young$`));
      await older.gone();
      expect(await tell(`when ${generation} is alone`)).toBe('written');
      await processes.program.errorLine(new RegExp(`^helper: when ${generation} is alone$`));
      older = younger;
    }
    // Once it has ended nobody keeps its pipe.
    const descriptors = await older.run((inside) => inside.descriptors());
    expect(await tell('end')).toBe('');
    await until(async () => (await older.run((inside) => inside.descriptors())).length < descriptors.length, {
      what: 'the pipe of the helper to be let go of',
    });
    await older.close();
  });
});

describe('HANDOVER_CHANNEL', () => {
  it('is out of the environment when the package is imported: no child can take its own descriptor for the channel', async () => {
    const looks = boot(async (inside) => {
      inside.say(
        'variables',
        Object.keys(process.env).filter((name) => name.startsWith('HANDOVER_CHANNEL')),
      );
      await inside.open({ probation: { duration: 0 } });
      await inside.listen('http', { port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    });
    const { chain: processes, first } = await chain(looks);
    await first.upgrade();
    const second = await processes.generation(2);
    expect(await second.said('variables')).toEqual([]);
    await first.gone();
    await second.close();
  });

  it('that came to a child with another descriptor of that number is not believed', async () => {
    // Its child has an IPC channel as descriptor 3, and a variable of its parent's that names it.
    const program = start(new URL('fixtures/forked.mjs', import.meta.url));
    expect(await program.message('answers')).toMatchObject({ answers: ['ready', 'pong'] });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
  });
});
