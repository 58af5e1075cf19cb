// Workers behind a wrapper: the server is the worker, whatever it was started by, and whichever of them ends first.
import { once } from 'node:events';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { dial } from '../../dist/fd/dial.js';
import { FdSocket } from '../../dist/fd/index.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { alive, gone, identify, type ProcessId } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import {
  askOnce,
  EXAMPLE,
  expectUnharmed,
  fixture,
  keepAlive,
  type Running,
  replaced,
  running,
  stop,
  temporary,
} from './running.js';
import { doorOf, handsOver, serverOf } from './wrapping.js';

expectNoLeaks();
const { start } = usePrograms();
const NODE = process.execPath;
const READING = fixture('reading.mjs');
const WRAPPER = fixture('wrapper.mjs');

/** Resolves with the answer to a request, held open until `end` is called; its server drains until then. */
function openRequest(port: number): { readonly answer: Promise<string>; end(): void } {
  const socket = connect({ port, host: '127.0.0.1' })
    .setEncoding('latin1')
    .on('error', () => {});
  onTestFinished(() => void socket.destroy());
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n');
  let text = '';
  socket.on('data', (chunk: string) => {
    text += chunk;
  });
  const answer = once(socket, 'close').then(() => text.split('\r\n\r\n')[1] ?? '');
  return { answer, end: () => socket.write('body') };
}

describe('a server behind a wrapper', () => {
  it.each([[false], [true]])('G2, G3: is handed over, and drained at the end (--listen: %s)', async (listens) => {
    await handsOver(start, { command: [WRAPPER, NODE, EXAMPLE], listens });
  }, 60_000);

  it.each(['SIGKILL', 'SIGUSR2'] as const)('G2, G3: stays the worker when the wrapper dies of %s', async (signal) => {
    const app = await running(start, [], { command: [WRAPPER, NODE, EXAMPLE] });
    const traffic = keepAlive(app.port, 3);
    await until(() => traffic.load.total > 10, { what: 'answers' });
    const first = await serverOf(app);
    process.kill(app.workers()[0] ?? 0, signal);
    await until(() => app.workers().length === 0, { what: 'its end' });
    const { total } = traffic.load;
    await until(() => traffic.load.total > total + 20, { what: 'answers' });
    expect(await askOnce(app.port)).toBe(first.pid);
    await expect(app.supervisor.stderr).not.toContain('started again');
    await replaced(app, 1);
    await gone(first, 20_000);
    await expectUnharmed(traffic);
    await stop(app);
  }, 60_000);

  it('G2: finishes what it has begun when all of its processes get SIGTERM at once, and is followed', async () => {
    const app = await running(start, [], {
      program: '/bin/sh',
      command: ['-c', `${NODE} ${READING}; exit $?`],
      settle: 0,
    });
    const { answer, end } = openRequest(app.port);
    const first = await serverOf(app);
    process.kill(-(app.workers()[0] ?? 0), 'SIGTERM');
    await app.supervisor.errorLine(/started again/);
    expect(await askOnce(app.port)).not.toBe(first.pid);
    end();
    expect(await answer).toBe('hi\n');
    await gone(first);
    await stop(app);
  }, 60_000);

  it.each([
    ['stays', `${NODE} ${EXAMPLE}; sleep 600`],
    ['starts it again', `trap "" TERM; while :; do ${NODE} ${EXAMPLE}; done`],
  ])(
    'G4: is started again when it dies and the wrapper %s; one serves',
    async (_, script) => {
      const options = ['--stop-timeout', '3000'];
      const app = await running(start, options, { program: '/bin/sh', command: ['-c', script], settle: 0 });
      const first = await serverOf(app);
      const wrapper = identify(app.workers()[0] ?? 0) as ProcessId;
      process.kill(first.pid, 'SIGKILL');
      await app.supervisor.errorLine(/started again/);
      const second = await serverOf(app);
      await gone(wrapper, 20_000);
      await until(() => app.workers().length === 1, { what: 'one worker' });
      const answers = await Promise.all(Array.from({ length: 10 }, () => askOnce(app.port)));
      expect([...new Set(answers)]).toEqual([second.pid]);
      const exit = await app.supervisor.stop('SIGTERM', 20_000);
      // A shell that is deaf to SIGTERM has to be killed, and that is said.
      expect(exit).toEqual({ code: script.startsWith('trap') ? 1 : 0, signal: null });
    },
    60_000,
  );

  it('G5: a successor that dies behind a wrapper that stays is taken back from', async () => {
    const app = await running(start, [], {
      program: '/bin/sh',
      command: ['-c', `${NODE} ${READING}; sleep 600`],
      settle: 0,
    });
    const { answer, end } = openRequest(app.port);
    const first = await serverOf(app);
    await replaced(app, 1);
    const second = await serverOf(app);
    expect(second.pid).not.toBe(first.pid);
    process.kill(second.pid, 'SIGKILL');
    expect(await askOnce(app.port)).toBe(first.pid);
    end();
    expect(await answer).toBe('hi\n');
    await until(() => app.workers().length === 1, { what: 'one worker', timeout: 20_000 });
    await replaced(app, 1);
    await gone(first, 20_000);
    await stop(app);
  }, 60_000);

  it('is the one that listens: what greets and only starts another is its wrapper', async () => {
    const outer = 'export OUTER=$HANDOVER_SUPERVISOR; exec "$0" "$1"';
    const app = await running(start, [], {
      program: '/bin/sh',
      command: ['-c', outer, NODE, fixture('respawning.mjs')],
    });
    const first = await serverOf(app);
    expect(first.pid).not.toBe(app.workers()[0]);
    await stop(app);
    expect(alive(first)).toBe(false);
  }, 30_000);

  it('is one in a worker: another process that wants to listen beside it is told so', async () => {
    const app = await running(start, [], { command: [fixture('siblings.mjs')] });
    await app.supervisor.line(/first: listens/);
    await app.supervisor.line(/second: ERR_HANDOVER_SUPERVISOR_REFUSED/);
    await replaced(app, 1);
    await stop(app);
  }, 30_000);

  it('G6: nobody but a process of a worker is let in', async () => {
    const app = await running(start, [], { command: [WRAPPER, NODE, EXAMPLE] });
    const door = doorOf(app);
    expect(statSync(dirname(door)).mode & 0o777).toBe(0o700);
    expect(statSync(door).mode & 0o777).toBe(0o600);
    const stranger = start(new URL('../../examples/http.mjs', import.meta.url), {
      env: { HANDOVER_SUPERVISOR: `3:${app.supervisor.pid}:${door}`, PORT: '0' },
    });
    expect(await stranger.exit()).toMatchObject({ code: 1 });
    expect(stranger.stderr).toContain('ERR_HANDOVER_SUPERVISOR_REFUSED');
    // Nor does one keep anything from the workers that says nothing.
    const silent = Array.from({ length: 50 }, () => new FdSocket(dial(door)));
    await replaced(app, 1);
    for (const socket of silent) socket.close();
    await stop(app);
  }, 30_000);

  it('is let in where its wrapper has dialled before, many times, and says nothing', async () => {
    const app = await running(start, [], { command: [fixture('dialling.mjs'), EXAMPLE] });
    const first = await serverOf(app);
    expect(first.pid).not.toBe(app.workers()[0]);
    await replaced(app, 1);
    await gone(first, 20_000);
    await stop(app);
  }, 30_000);

  it('G7: what a supervisor that was killed has left is removed by the next one', async () => {
    const env = { TMPDIR: temporary() };
    const app = await running(start, [], { command: [EXAMPLE], env });
    const worker = await serverOf(app);
    await app.supervisor.stop('SIGKILL');
    await gone(worker);
    expect(readdirSync(env.TMPDIR)).toHaveLength(1);
    const next = await running(start, [], { command: [EXAMPLE], env });
    expect(readdirSync(env.TMPDIR)).toHaveLength(1);
    await stop(next);
    expect(readdirSync(env.TMPDIR)).toEqual([]);
  }, 30_000);
});

const PLAIN = `import http from 'node:http';
const server = http.createServer(async (request, response) => {
  for await (const _ of request);
  response.setHeader('x-pid', process.pid).setHeader('content-length', 3).end('hi\\n');
});
server.listen({ fd: 3 }, 511);
process.on('SIGTERM', () => process.env.DEAF ?? server.close(() => process.exit(0)));`;

describe('a server that knows nothing of this package, behind a shell', () => {
  const plain = (env: NodeJS.ProcessEnv = {}): Promise<Running> => {
    const script = join(temporary(), 'plain.mjs');
    writeFileSync(script, PLAIN);
    const command = ['-c', `${NODE} ${script}; exit $?`];
    return running(start, ['--stop-timeout', '3000'], { program: '/bin/sh', command, listens: true, env, settle: 0 });
  };

  it('G2: finishes what it has begun at the end, and when it is replaced', async () => {
    const app = await plain();
    const first = openRequest(app.port);
    const server = await serverOf(app);
    await replaced(app, 1);
    await until(() => app.workers().length === 1, { what: 'the first shell to end' });
    first.end();
    expect(await first.answer).toBe('hi\n');
    await gone(server);
    const last = openRequest(app.port);
    await askOnce(app.port);
    app.supervisor.child.kill('SIGTERM');
    await until(() => app.workers().length === 0, { what: 'the second shell to end' });
    last.end();
    expect(await last.answer).toBe('hi\n');
    expect(await app.supervisor.exit()).toEqual({ code: 0, signal: null });
  }, 30_000);

  it('is never said to have drained where it had to be killed', async () => {
    const app = await plain({ DEAF: '1' });
    const { answer } = openRequest(app.port);
    await askOnce(app.port);
    expect(await app.supervisor.stop('SIGTERM')).toEqual({ code: 1, signal: null });
    expect(await answer).toBe('');
  }, 30_000);

  it('G4: is ended with the shell that dies, and does not accept beside the next one', async () => {
    const app = await plain();
    const first = await serverOf(app);
    process.kill(app.workers()[0] ?? 0, 'SIGKILL');
    await app.supervisor.errorLine(/started again/);
    await gone(first);
    expect(await askOnce(app.port)).not.toBe(first.pid);
    await stop(app);
  }, 30_000);
});
