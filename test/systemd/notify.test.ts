// What a service manager is told, and when: real processes, a manager that listens on a real socket.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeFd } from '../../lib/fd/index.js';
import { parseStoreName } from '../../lib/resources/store-name.js';
import { failureOf, LOCALHOST, server, targetOf, visit } from '../engine/engine.js';
import { temporaryFolder } from '../fd/sandbox.js';
import { type Boot, boot, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { identify } from '../helpers/processes.js';
import { until } from '../helpers/until.js';
import { Manager } from './manager.js';

expectNoLeaks();
const apps = useApps();
const { chain } = apps;
const options = { probation: { duration: 0 } };

/** What identifies the messages of a test in their order. */
const kinds = ({ heard }: Manager): string[] =>
  heard.map(({ fields }) =>
    Object.keys(fields)
      .filter((name) => name !== 'STATUS' && name !== 'MONOTONIC_USEC')
      .join(' '),
  );

describe.runIf(process.platform === 'linux').each([
  ['a path', false],
  ['an abstract name', true],
] as const)('NOTIFY_SOCKET is %s', (_, abstract) => {
  it('G8: systemd hears of the whole life of a chain, and the predecessor stays until it has read who follows', async () => {
    const manager = new Manager({ abstract });
    const before = process.hrtime.bigint() / 1_000n;
    const { chain: processes, first } = await chain(server({ options }), {
      env: { NOTIFY_SOCKET: manager.address, SYSTEMD_EXEC_PID: '1' },
    });
    expect(await manager.next('READY')).toMatchObject({ pid: first.pid, fields: { STATUS: 'generation 1 serves' } });
    // Children must not speak for the service.
    expect(await first.run(() => process.env.NOTIFY_SOCKET ?? null)).toBeNull();

    manager.holdBarriers();
    const { pid } = await first.upgrade();
    const { fields } = await manager.next('RELOADING');
    const at = BigInt(fields.MONOTONIC_USEC ?? 0);
    expect(at > before && at < process.hrtime.bigint() / 1_000n).toBe(true);
    expect(await manager.next('MAINPID')).toMatchObject({
      pid: first.pid,
      fields: { MAINPID: String(pid), READY: '1', STATUS: `generation 2 (pid ${pid}) serves` },
    });
    const barrier = await manager.next('BARRIER');
    expect(barrier).toMatchObject({ pid: first.pid, fields: { BARRIER: '1' } });
    expect(Object.keys(barrier.fields)).toEqual(['BARRIER']);
    // The predecessor has retired: the successor is alone, and says so.
    expect(await manager.next('MAINPID')).toMatchObject({ pid, fields: { MAINPID: String(pid), READY: '1' } });
    expect(await first.run(() => 'still there')).toBe('still there');
    expect(first.allSaid('hook')).toEqual([]);
    const second = await processes.generation(2);
    // Before the predecessor may end: systemd waits for no foreign child that is alone in its unit.
    const [standIn = 0] = await second.run(({ children }) => children());
    expect(manager.heard.filter(({ fields }) => fields.MAINPID)).toEqual([]);
    manager.lift(barrier);
    await first.gone();
    expect(first.allSaid('hook')).toEqual(['ran']);

    // The main process changes twice, each time by the word of the one that is it.
    expect(await manager.next('MAINPID')).toMatchObject({ pid, fields: { MAINPID: String(standIn) } });
    expect(await manager.next('MAINPID')).toMatchObject({ pid: standIn, fields: { MAINPID: String(pid) } });
    const last = await manager.next('BARRIER');
    expect(last.pid).toBe(pid);
    expect(await second.run(({ children }) => children())).toEqual([standIn]);
    manager.lift(last);
    await until(() => identify(standIn) === undefined, { what: 'the stand-in to end' });
    expect(await second.run(() => [process.env.NOTIFY_SOCKET ?? null, process.env.SYSTEMD_EXEC_PID ?? null])).toEqual([
      null,
      null,
    ]);
    await second.close();
    expect(await manager.next('STOPPING')).toMatchObject({ pid, fields: { EXTEND_TIMEOUT_USEC: '15000000' } });
    expect(kinds(manager)).toEqual([]);
  });
});

describe.runIf(process.platform === 'linux')('a handover that fails', () => {
  it('G5: before COMMIT: RELOADING, then READY with the reason, and no other main process', async () => {
    const manager = new Manager();
    const bad = boot(async () => process.exit(3));
    const { first } = await chain([server({ options }), bad], { env: { NOTIFY_SOCKET: manager.address } });
    await manager.next('READY');
    expect(await failureOf(first)).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    await manager.next('RELOADING');
    const { fields } = await manager.next('READY');
    expect(fields).toEqual({
      READY: '1',
      STATUS: expect.stringMatching(/^generation 1 serves: the handover failed: .*exit code 3/),
    });
    await first.close();
    await manager.next('STOPPING');
    expect(kinds(manager)).toEqual([]);
  });

  it('G5: refused at once, it is answered, too: Type=notify-reload waits for RELOADING', async () => {
    const manager = new Manager();
    const refusing = { ...options, successor: { command: '/nowhere/node' } };
    const { first } = await chain(server({ options: refusing }), { env: { NOTIFY_SOCKET: manager.address } });
    await manager.next('READY');
    expect(await failureOf(first)).toMatchObject({ code: 'ERR_HANDOVER_COMMAND_NOT_FOUND' });
    expect(await manager.next('RELOADING')).toBeDefined();
    expect((await manager.next('READY')).fields.STATUS).toMatch(/is gone or not executable/);
    await first.close();
  });

  it('G5: recalled, the predecessor is the main process again', async () => {
    const manager = new Manager();
    const { chain: processes, first } = await chain(server({ options }), { env: { NOTIFY_SOCKET: manager.address } });
    const client = new HttpConnection(await targetOf(first));
    const held = client.request('/hold');
    await first.said('held');
    const { pid } = await first.upgrade();
    const second = await processes.generation(2);
    expect((await manager.next('MAINPID')).fields.MAINPID).toBe(String(pid));
    second.process.signal('SIGKILL');
    expect(await manager.next('MAINPID')).toMatchObject({
      pid: first.pid,
      fields: { MAINPID: String(first.pid), READY: '1' },
    });
    await first.run(({ servers }) => servers.http?.release());
    await held;
    client.close();
    // It can try again.
    await first.upgrade();
    await first.gone();
    await (await processes.generation(3)).close();
  });

  it('G2: a predecessor that dies while it drains leaves a main process that is systemd’s child', async () => {
    const manager = new Manager();
    const { chain: processes, first } = await chain(server({ options }), { env: { NOTIFY_SOCKET: manager.address } });
    const client = new HttpConnection(await targetOf(first));
    client.request('/hold').catch(() => {});
    await first.said('held');
    const { pid } = await first.upgrade();
    expect(await manager.next('MAINPID')).toMatchObject({ pid: first.pid, fields: { MAINPID: String(pid) } });
    first.process.signal('SIGKILL');
    expect(await manager.next('MAINPID')).toMatchObject({ pid, fields: { READY: '1' } });
    const { fields } = await manager.next('MAINPID');
    expect(fields.MAINPID).not.toBe(String(pid));
    expect((await manager.next('MAINPID')).fields).toEqual({ MAINPID: String(pid) });
    client.close();
    await (await processes.generation(2)).close();
  });

  it('G5: a manager that is gone hinders nobody', async () => {
    const { chain: processes, first } = await chain(server({ options }), { env: { NOTIFY_SOCKET: '/nowhere/notify' } });
    await first.upgrade();
    await first.gone();
    expect(first.allSaid('handover:hook-failed')).toContainEqual({
      name: 'systemd',
      error: expect.objectContaining({ message: expect.stringContaining('connect ENOENT') }),
    });
    await (await processes.generation(2)).close();
  });

  it('G1: nor does one that does not read, but for a few seconds at the end of the predecessor', async () => {
    const manager = new Manager({ deaf: true });
    // A ping each millisecond: its queue is full at once.
    const env = { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '2000' };
    const { chain: processes, first } = await chain(server({ options }), { env });
    const target = await targetOf(first);
    for (let i = 0; i < 50; i++) expect(await visit(target)).toEqual({ pid: first.pid });
    const { pid } = await first.upgrade();
    expect(await visit(target)).toEqual({ pid });
    await first.gone();
    await (await processes.generation(2)).close();
  });
});

describe.runIf(process.platform === 'linux')('a drain that takes long', () => {
  it('G2: asks for more time again and again', async () => {
    const manager = new Manager();
    const { first } = await chain(server({ options }), { env: { NOTIFY_SOCKET: manager.address } });
    const client = new HttpConnection(await targetOf(first));
    const held = client.request('/hold');
    await first.said('held');
    await first.run(({ handover }) => void handover.close());
    await manager.next('STOPPING');
    expect((await manager.next('EXTEND_TIMEOUT_USEC')).fields).toEqual({ EXTEND_TIMEOUT_USEC: '15000000' });
    await first.run(({ servers }) => servers.http?.release());
    expect((await held).pid).toBe(first.pid);
    client.close();
    await first.gone();
  });
});

describe.runIf(process.platform === 'linux')('a standby', () => {
  it('is no reload while it waits, and one when it is committed', async () => {
    const manager = new Manager();
    const { chain: processes, first } = await chain(server({ options }), { env: { NOTIFY_SOCKET: manager.address } });
    await manager.next('READY');
    await first.run(async ({ handover, kept }) => {
      kept.standby = await handover.prepare();
    });
    await manager.next('RELOADING');
    expect((await manager.next('READY')).fields.STATUS).toBe('generation 1 serves: a standby waits');
    const { pid } = await first.run(({ kept }) => (kept.standby as { commit(): Promise<{ pid: number }> }).commit());
    await manager.next('RELOADING');
    expect((await manager.next('MAINPID')).fields.MAINPID).toBe(String(pid));
    await first.gone();
    await (await processes.generation(2)).close();
  });
});

describe.runIf(process.platform === 'linux')('the watchdog', () => {
  it('hears from whoever is in charge, at half the interval', async () => {
    const manager = new Manager();
    const env = { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '100000' };
    const { chain: processes, first } = await chain(server({ options }), { env });
    expect(await manager.next('WATCHDOG')).toMatchObject({ pid: first.pid, fields: { WATCHDOG: '1' } });
    const { pid } = await first.upgrade();
    await first.gone();
    const heardOfFirst = manager.heard.length;
    manager.heard.splice(0);
    for (let i = 0; i < 3; i++) expect((await manager.next('WATCHDOG')).pid).toBe(pid);
    expect(heardOfFirst).toBeGreaterThan(0);
    await (await processes.generation(2)).close();
  });

  it('is not ours where WATCHDOG_PID names another process', async () => {
    const manager = new Manager();
    const env = { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '2000', WATCHDOG_PID: '1' };
    const { first } = await chain(server({ options }), { env });
    await manager.next('READY');
    for (let i = 0; i < 5; i++) await visit(await targetOf(first));
    await first.close();
    await manager.next('STOPPING');
    expect(kinds(manager)).toEqual([]);
  });
});

describe.runIf(process.platform === 'linux')('the store of descriptors', () => {
  it('G1: holds every listener by name and address, and lets go of one that the app closes', async () => {
    const manager = new Manager();
    const env = { NOTIFY_SOCKET: manager.address };
    const { first } = await chain(
      server({
        options: { ...options, systemd: { fdstore: true } },
        listen: { name: 'web', port: 0, host: LOCALHOST },
      }),
      { env },
    );
    const web = await manager.next('FDSTORE');
    expect(web.fields).toEqual({ FDSTORE: '1', FDPOLL: '0', FDNAME: expect.any(String) });
    expect(parseStoreName(web.fields.FDNAME ?? '')).toMatchObject({ name: 'web', address: `tcp://${LOCALHOST}:0` });
    expect(describeFd(web.fds[0] ?? -1).socket).toMatchObject({
      listening: true,
      local: await targetOf(first).then(({ port }) => ({ port })),
    });

    await first.run(({ listen }) => listen('net', { name: 'late', port: 0, host: '127.0.0.1' }));
    const late = await manager.next('FDSTORE');
    expect(parseStoreName(late.fields.FDNAME ?? '')?.name).toBe('late');
    await first.run(({ servers }) => void (servers.net as unknown as import('node:net').Server).close());
    expect((await manager.next('FDSTOREREMOVE')).fields.FDNAME).toBe(late.fields.FDNAME);
    await first.close();
    expect(manager.heard.some(({ fields }) => fields.FDSTOREREMOVE)).toBe(false);
  });

  it('G1: gives a socket back to the listener it was, its path and its queue, and not to one at another address', async () => {
    const manager = new Manager();
    const folder = temporaryFolder();
    const fdstore = { ...options, systemd: { fdstore: true } };
    const at = (name: string): Boot => server({ options: fdstore, listen: { name: 'web', path: join(folder, name) } });
    const { first } = await chain(at('one'), { env: { NOTIFY_SOCKET: manager.address } });
    const { fields, fds } = await manager.next('FDSTORE');
    await first.close();
    // Nobody runs, and the client waits in the queue.
    const waiting = visit({ path: join(folder, 'one') });

    const env = { NOTIFY_SOCKET: manager.address, LISTEN_FDS: '1', LISTEN_FDNAMES: fields.FDNAME };
    const { first: again } = await chain(at('one'), { env, fds });
    expect(await again.said('listening')).toMatchObject({ origin: 'activated', address: join(folder, 'one') });
    expect(await waiting).toEqual({ pid: again.pid });
    expect((await manager.next('FDSTORE')).fields.FDNAME).toBe(fields.FDNAME);
    await again.close();

    const { first: moved } = await chain(at('two'), { env, fds });
    expect(await moved.said('listening')).toMatchObject({ origin: 'bound' });
    expect(await moved.said('handover:in-charge')).toMatchObject({ unclaimed: ['web'] });
    expect((await manager.next('FDSTOREREMOVE')).fields.FDNAME).toBe(fields.FDNAME);
    await moved.close();
  });

  it('follows a release that listens elsewhere, once its predecessor is gone', async () => {
    const manager = new Manager();
    const env = { NOTIFY_SOCKET: manager.address, FDSTORE: '8' };
    const plan = (name: string) =>
      server({ options: { ...options, unclaimed: 'close' }, listen: { name, port: 0, host: LOCALHOST } });
    const { chain: processes, first } = await chain([plan('old'), plan('new')], { env });
    expect(parseStoreName((await manager.next('FDSTORE')).fields.FDNAME ?? '')?.name).toBe('old');
    const { pid } = await first.upgrade();
    const removed = await manager.next('FDSTOREREMOVE');
    expect([removed.pid, parseStoreName(removed.fields.FDNAME ?? '')?.name]).toEqual([pid, 'old']);
    const stored = await manager.next('FDSTORE');
    expect([stored.pid, parseStoreName(stored.fields.FDNAME ?? '')?.name]).toEqual([pid, 'new']);
    await first.gone();
    await (await processes.generation(2)).close();
  });

  it('is not used unless asked for, or where systemd says it has one', async () => {
    const manager = new Manager();
    const { first } = await chain(server({ options }), { env: { NOTIFY_SOCKET: manager.address } });
    await first.close();
    await manager.next('STOPPING');
    expect(kinds(manager)).toEqual(['READY']);
  });
});

describe.runIf(process.platform === 'linux')('systemd: false', () => {
  it('says nothing, leaves the variables to the app, and refuses a handover that systemd would have to know of', async () => {
    const manager = new Manager();
    const env = { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: '5000' };
    const { first } = await chain(server({ options: { ...options, systemd: false } }), { env });
    expect(await first.run(() => [process.env.NOTIFY_SOCKET, process.env.WATCHDOG_USEC])).toEqual([
      manager.address,
      '5000',
    ]);
    expect(await failureOf(first)).toMatchObject({
      code: 'ERR_HANDOVER_WOULD_ORPHAN',
      message: expect.stringContaining('systemd'),
    });
    await first.close();
    expect(manager.heard).toEqual([]);
  });
});
