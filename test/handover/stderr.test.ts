// The successor's stderr: through the predecessor until it is ready, then the real one, so that nobody dies of EPIPE.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { boot, type Inside, useApps } from './apps.js';

expectNoLeaks();
const { chain, dialled, start } = useApps();

const TEN_MEGABYTES = 10_000_000;
const APP = fileURLToPath(new URL('fixtures/app.mjs', import.meta.url));
const UNDER = new URL('fixtures/under.mjs', import.meta.url);

const talks = boot(async (inside) => {
  process.stderr.write(`loading ${process.pid}\n`);
  await inside.open({ probation: 0 });
  await inside.listen('http', { port: 0, host: '127.0.0.1' });
  process.stderr.write(`loaded ${process.pid}\n`);
  await inside.handover.ready();
  process.stderr.write(`ready ${process.pid}\n`);
});

/** Fills stderr while it loads. */
const loud = boot(async (inside, bytes) => {
  await inside.open({ probation: 0 });
  let text = '';
  for (let i = 0; i < bytes / 10; i++) text += `${String(i).padStart(9, '0')}\n`;
  await new Promise((resolve) => process.stderr.write(text, resolve));
  await inside.listen('http', { port: 0, host: '127.0.0.1' });
  await inside.handover.ready();
}, TEN_MEGABYTES);

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
  await first.run(async () => {
    while (process.stderr.writableLength === 0) await new Promise((resolve) => setImmediate(resolve));
  });
  writeFileSync(fifo, 'leave\n');
  const { pid } = await upgrade;
  const second = await generation(2);
  expect(second.pid).toBe(pid);
  await first.gone();
  await second.close();
  expect(await program.exit()).toEqual({ code: 0, signal: null });
});

it('stderr is a file: the successor appends to it, nothing is overwritten', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'handover-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
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
