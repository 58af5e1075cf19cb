// The role is that of the process that listens: npm, tsx and shells are Node, too, and load `handover/auto` before it.
import { describe, expect, it } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { AUTO } from './preloaded.js';

expectNoLeaks();
const { start, follow } = usePrograms();

interface Told {
  readonly pid: number;
  readonly port: number;
  readonly options: string;
}

const pidAt = async (port: number): Promise<number> => {
  const connection = new HttpConnection({ port, host: '127.0.0.1' });
  const { pid } = await connection.request('/', undefined, true);
  connection.close();
  return pid;
};

const ENV = { HANDOVER_AUTO: '{"probation":{"duration":0},"log":true}' };

describe.each([
  ['NODE_OPTIONS', [], { NODE_OPTIONS: `--import ${AUTO}` }],
  ['--import of the wrapper alone', ['--import', AUTO], {}],
])('by %s', (_, execArgv, env) => {
  it.each([
    'plain',
    'pipe',
    'probe',
  ])('G1: a wrapper (%s) starts the server, which hands over; the wrapper says that it cannot', async (role) => {
    const url = new URL('fixtures/wrapper.mjs', import.meta.url);
    const program = start(url, { args: [role], execArgv, env: { ...ENV, ...env } });
    const wrapper = await program.message<Told>('wrapper');
    const first = await program.message<Told>('server');
    expect(first.pid).not.toBe(wrapper.pid);
    const server = follow(first.pid);
    await program.errorLine(/generation 1 is in charge/);
    process.kill(wrapper.pid, 'SIGUSR2');
    await program.errorLine(new RegExp(`handover.${wrapper.pid}.: SIGUSR2: this process listens on nothing`));
    expect(await pidAt(first.port)).toBe(first.pid);
    process.kill(first.pid, 'SIGUSR2');
    await program.errorLine(/generation 2 is in charge/);
    const second = await program.message<Told>('server');
    const successor = follow(second.pid);
    await server.gone();
    // The wrapper has ended with the server it started; the successor serves.
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect([second.port, await pidAt(first.port)]).toEqual([first.port, second.pid]);
    // As the server was started, so is its successor.
    expect(second.options).toBe(first.options);
    successor.signal('SIGUSR2');
    const third = follow((await program.message<Told>('server')).pid);
    await successor.gone();
    expect(await pidAt(first.port)).toBe(third.pid);
    third.signal('SIGTERM');
    await third.gone();
  });
});

it('what only loads it is as it would be without: no signal but its own is handled, and it ends as ever', async () => {
  const program = start(new URL('fixtures/ends.mjs', import.meta.url), {
    execArgv: ['--import', AUTO],
    env: { ...ENV, NOTIFY_SOCKET: '/nowhere', LISTEN_FDS: '1' },
  });
  expect(await program.exit()).toEqual({ code: 0, signal: null });
  await program.closed;
  expect(program.stderr).toBe('');
});
