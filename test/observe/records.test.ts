// What is written down of handovers: log lines, one line of audit each, profiles; and that no secret is in any of it.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { ask } from '../cli/command.js';
import { failureOf, privateFolder } from '../engine/engine.js';
import { boot, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';

expectNoLeaks();
const { chain, start, follow } = useApps();

const SECRET = 'hunter2-0123456789';
const ID = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);

/** A server that logs through pino into a file, and keeps an audit. */
const logged = (folder: string, options: object = {}) =>
  boot(
    async (inside, folder, options) => {
      const { pino } = (await inside.load('pino')) as typeof import('pino');
      const { logHandover } = (await inside.load('handover/log')) as typeof import('../../lib/log.js');
      logHandover(pino(pino.destination({ dest: `${folder}/log`, append: true, sync: true })));
      await inside.open({ probation: { duration: 0 }, audit: `${folder}/audit`, ...options });
      await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    },
    folder,
    options,
  );

interface AuditLine {
  readonly handoverId: string;
  readonly outcome: string;
  readonly [key: string]: unknown;
}

const linesOf = <T>(file: string): T[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);

it('G8: log lines of both processes carry the id of their handover, and one audit line tells of it', async () => {
  const folder = privateFolder();
  const { chain: processes, first } = await chain(logged(folder), { env: { DATABASE_PASSWORD: SECRET } });
  const { pid } = await first.upgrade();
  await first.gone();
  const second = await processes.generation(2);
  await second.close();

  const [line, ...others] = linesOf<AuditLine>(join(folder, 'audit'));
  expect(others).toEqual([]);
  const release = { entry: expect.stringMatching(/\/app\.mjs$/), version: '0.1.0' };
  expect(line).toEqual({
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    handoverId: ID,
    generation: 1,
    pid: first.pid,
    successorPid: pid,
    requester: { by: 'app', pid: first.pid },
    from: release,
    to: release,
    outcome: 'completed',
    code: null,
    phase: 'RETIRE',
    durationMs: expect.any(Number),
    connections: { moved: 0, ended: 0, cut: 0 },
  });
  const lines = linesOf<{ event: string; handoverId?: string; pid: number; level: number }>(join(folder, 'log'));
  const told = lines.filter(({ handoverId }) => handoverId === line?.handoverId);
  expect(told.map(({ event, pid: by }) => [event, by]).sort()).toEqual(
    [
      ['requested', first.pid],
      ['in-charge', pid],
      ['superseded', first.pid],
      ['drained', first.pid],
    ].sort(),
  );
  // Nothing else has one.
  expect(lines.filter(({ handoverId }) => handoverId !== undefined)).toHaveLength(told.length);
  for (const file of ['log', 'audit']) expect(readFileSync(join(folder, file), 'utf8')).not.toContain(SECRET);
});

it('G8: each handover has its own id, and a failure is in the audit with its code, and without what stderr said', async () => {
  const folder = privateFolder();
  const failing = boot(() => {
    process.stderr.write(`cannot connect with ${process.env.DATABASE_PASSWORD}\n`);
    process.exit(3);
  });
  const env = { DATABASE_PASSWORD: SECRET };
  const { first } = await chain([logged(folder), failing, failing, logged(folder), logged(folder)], { env });
  for (let i = 0; i < 2; i++) {
    const failure = await failureOf(first);
    expect(failure.code).toBe('ERR_HANDOVER_SUCCESSOR_EXITED');
    expect(failure.stderr).toContain(SECRET);
  }
  const aborted = await first.run(async ({ handover }) => {
    const upgrading = handover.upgrade({ signal: AbortSignal.timeout(20) });
    const refused = await handover.upgrade({ requester: { by: 'control', pid: 7, uid: 8 } }).catch(({ code }) => code);
    const names = [refused, await upgrading.catch(({ name }) => name)];
    const cancelling = new AbortController();
    const cancelled = handover.upgrade({ signal: cancelling.signal }).catch((reason) => reason);
    cancelling.abort('not on a Friday');
    names.push(await cancelled);
    // No directory can be there.
    names.push(await handover.upgrade({ profile: '/dev/null/profiles' }).catch(({ code }) => code));
    return names;
  });
  expect(aborted).toEqual(['ERR_HANDOVER_IN_PROGRESS', 'TimeoutError', 'not on a Friday', 'ENOTDIR']);
  const failures = first.allSaid('handover:failed') as { code: string }[];
  await first.close();

  const lines = linesOf<AuditLine>(join(folder, 'audit'));
  expect(lines.map(({ outcome, code, phase }) => [outcome, code, phase])).toEqual([
    ['failed', 'ERR_HANDOVER_SUCCESSOR_EXITED', 'PREPARE'],
    ['failed', 'ERR_HANDOVER_SUCCESSOR_EXITED', 'PREPARE'],
    ['failed', 'ERR_HANDOVER_IN_PROGRESS', null],
    ['failed', 'ABORT_ERR', 'PREPARE'],
    ['failed', 'ABORT_ERR', 'PREPARE'],
    ['failed', 'ENOTDIR', null],
  ]);
  // The same in both.
  expect(failures.map(({ code }) => code)).toEqual(lines.map(({ code }) => code));
  expect(lines[2]?.requester).toEqual({ by: 'control', pid: 7, uid: 8 });
  expect(new Set(lines.map(({ handoverId }) => handoverId)).size).toBe(6);
  const log = readFileSync(join(folder, 'log'), 'utf8');
  expect(log).toContain('the handover failed in PREPARE: the successor ended (exit code 3)');
  for (const text of [log, readFileSync(join(folder, 'audit'), 'utf8')]) expect(text).not.toContain(SECRET);
});

it('G8: a standby that is lost and a hook that fails are logged without what is below their first line', async () => {
  const folder = privateFolder();
  const dying = boot(async (inside) => {
    await inside.open();
    await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
    process.stderr.write(`loaded ${process.env.DATABASE_PASSWORD}\n`);
    await inside.handover.ready();
  });
  const { chain: processes, first } = await chain([logged(folder), dying], { env: { DATABASE_PASSWORD: SECRET } });
  const preparing = first.run(async ({ handover, say }) => {
    const { lost } = await handover.prepare();
    lost.then((error) => say('lost', (error as Error).message));
  });
  await preparing;
  (await processes.generation(2)).process.signal('SIGKILL');
  expect(await first.said('lost')).toContain(SECRET);
  await first.run(({ handover }) => {
    handover.onClose('pool', () => {
      throw new Error(`already ended\n${process.env.DATABASE_PASSWORD}`);
    });
  });
  await first.close();
  const log = readFileSync(join(folder, 'log'), 'utf8');
  const lost = linesOf<{ event: string; handoverId?: string }>(join(folder, 'log')).filter(
    ({ event }) => event === 'standby-lost',
  );
  expect(lost).toEqual([expect.objectContaining({ handoverId: ID })]);
  expect(log).toContain('already ended');
  expect(log).not.toContain(SECRET);
});

it('G8: a recall is one line, and so is a predecessor that dies', async () => {
  const folder = privateFolder();
  const { chain: processes, first } = await chain(logged(folder, { migrate: false }));
  // Held open by its own connection it drains until it is told not to.
  const hold = () =>
    first.run(async ({ handover, servers, kept }) => {
      const { port } = (servers.http as unknown as import('node:net').Server).address() as { port: number };
      kept.socket = process.getBuiltinModule('node:net').connect(port, '127.0.0.1');
      await new Promise((resolve) => servers.http?.once('connection', resolve));
      await handover.upgrade();
    });
  await hold();
  (await processes.generation(2)).process.signal('SIGKILL');
  await first.said('handover:in-charge', 2);
  await first.run(({ kept }) => void (kept.socket as import('node:net').Socket).destroy());
  const audit = () => linesOf<AuditLine>(join(folder, 'audit'));
  expect(audit()).toMatchObject([
    { outcome: 'recalled', code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'DRAIN', pid: first.pid },
  ]);

  await hold();
  const third = await processes.generation(3);
  // It drains, too, as it waits for the first: what it learns it tells the next, which does not write it again.
  await third.upgrade();
  const fourth = await processes.generation(4);
  await fourth.run(({ say }) => {
    const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
    subscribe('handover:outcome', (outcome) => say('outcome', (outcome as { result: string }).result));
  });
  first.process.signal('SIGKILL');
  await first.gone();
  await third.gone();
  await fourth.said('outcome', 2);
  expect(fourth.allSaid('outcome')).toEqual(['predecessor-lost', 'completed']);
  await fourth.close();
  expect(audit().slice(1)).toMatchObject([
    { outcome: 'predecessor-lost', code: 'ERR_HANDOVER_PEER_LOST', pid: third.pid, requester: null },
    { outcome: 'completed', pid: third.pid },
  ]);
  expect(audit()[1]?.handoverId).not.toBe(audit()[0]?.handoverId);
});

it('G5: connections that had moved to a successor that fails are counted, and named as lost', async () => {
  const folder = privateFolder();
  const { chain: processes, first } = await chain(logged(folder));
  const port = await first.run(async ({ handover, servers, kept }) => {
    handover.waitUntil(
      new Promise((resolve) => {
        kept.release = resolve;
      }),
    );
    return ((servers.http as unknown as import('node:net').Server).address() as { port: number }).port;
  });
  const client = new HttpConnection({ port, host: '127.0.0.1' });
  expect((await client.request('/')).pid).toBe(first.pid);
  const { pid } = await first.upgrade();
  // What came before it had moved was answered by the first.
  while ((await client.request('/')).pid !== pid);
  (await processes.generation(2)).process.signal('SIGKILL');
  await first.said('handover:in-charge', 2);
  client.close();
  await first.run(({ kept }) => (kept.release as () => void)());
  await first.close();
  expect(linesOf<AuditLine>(join(folder, 'audit'))).toMatchObject([
    { outcome: 'recalled', pid: first.pid, connections: { moved: 1, ended: 0, cut: 0, lost: 1 } },
  ]);
});

it('G8: who asks on the control socket what a handover would do is in the audit', async () => {
  const folder = privateFolder();
  const control = join(folder, 'control.sock');
  const { first } = await chain(logged(folder, { control }));
  await first.booted;
  await ask(control, 'plan');
  await first.close();
  expect(linesOf<AuditLine>(join(folder, 'audit'))).toMatchObject([
    { outcome: 'discarded', requester: { by: 'control', pid: process.pid, uid: process.getuid?.() } },
  ]);
});

const SERVER = `
  import http from 'node:http';
  import { serve } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
  const handover = await serve(http.createServer(), {
    port: 0, host: '127.0.0.1', probation: { duration: 0 }, audit: process.argv[2], takeover: process.argv[3], log: true,
  });
  process.stdout.write(JSON.stringify({ type: 'ready', pid: process.pid, generation: handover.generation }) + '\\n');
`;

it('G8: it says which release gave way to which, and who asked: a signal, a process that dialled in', async () => {
  const folder = privateFolder();
  for (const version of ['1.0.0', '2.0.0']) {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, 'package.json'), JSON.stringify({ name: 'app', type: 'module', version }));
    writeFileSync(join(folder, version, 'server.mjs'), SERVER);
  }
  const [audit, takeover, current] = ['audit', 'takeover.sock', 'current'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  symlinkSync('1.0.0', current);
  const args = [audit, takeover];
  const program = start(new URL(`file://${current}/server.mjs`), { args, execArgv: ['--preserve-symlinks-main'] });
  const first = await program.message<{ pid: number }>('ready');
  // The link leads elsewhere from now on; this process still runs what it was started with.
  const { renameSync } = await import('node:fs');
  symlinkSync('2.0.0', `${current}.new`);
  renameSync(`${current}.new`, current);
  program.child.kill('SIGUSR2');
  const second = await program.message<{ pid: number }>('ready');
  const followed = follow(second.pid);
  await program.errorLine(/was asked for by signal \(SIGUSR2\)/);
  await program.exit();
  const dialling = start(new URL(`file://${folder}/1.0.0/server.mjs`), { args });
  const third = await dialling.message<{ pid: number }>('ready');
  await followed.gone();
  await dialling.stop();

  const real = realpathSync(folder);
  const [old, young] = ['1.0.0', '2.0.0'].map((version) => ({ entry: join(real, version, 'server.mjs'), version }));
  expect(linesOf<AuditLine>(audit)).toMatchObject([
    { pid: first.pid, successorPid: second.pid, from: old, to: young, requester: { by: 'signal', signal: 'SIGUSR2' } },
    {
      pid: second.pid,
      successorPid: third.pid,
      from: young,
      to: old,
      requester: { by: 'takeover', pid: third.pid, uid: process.getuid?.() },
    },
  ]);
});

it('G5: an audit that cannot be kept is known at the start, and stops no server', async () => {
  const folder = privateFolder();
  const missing = logged(folder, { audit: join(folder, 'missing', 'audit') });
  const { chain: processes, first } = await chain(missing);
  const enoent = { name: 'audit', error: { message: expect.stringContaining('ENOENT') } };
  expect(await first.said('handover:hook-failed')).toMatchObject(enoent);
  await first.upgrade();
  await first.gone();
  const second = await processes.generation(2);
  expect(await second.said('handover:hook-failed')).toMatchObject(enoent);
  await second.close();
});

it('G5, G6: an audit that is a FIFO nobody reads, a link, or where others write, holds up nobody', async () => {
  const folder = privateFolder();
  const [fifo, link, target] = ['fifo', 'link', 'target'].map((name) => join(folder, name)) as [string, string, string];
  execFileSync('mkfifo', [fifo]);
  writeFileSync(target, '');
  symlinkSync(target, link);
  const open = join(folder, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  for (const [audit, message] of [
    [fifo, 'ENXIO'],
    [link, 'ELOOP'],
    [join(open, 'audit'), 'can be written to by other users'],
  ] as const) {
    const { chain: processes, first } = await chain(logged(folder, { audit }));
    const told = { name: 'audit', error: { message: expect.stringContaining(message) } };
    expect(await first.said('handover:hook-failed')).toMatchObject(told);
    await first.upgrade();
    await first.gone();
    const second = await processes.generation(2);
    expect(await second.said('handover:hook-failed')).toMatchObject(told);
    await second.close();
  }
  expect([readFileSync(target, 'utf8'), readdirSync(open)]).toEqual(['', []]);
});

it('G8: an audit may be a character device, and a FIFO is none also where it has a reader', async () => {
  const folder = privateFolder();
  const device = await chain(logged(folder, { audit: '/dev/null' }));
  await device.first.upgrade();
  await device.first.gone();
  const second = await device.chain.generation(2);
  expect(second.allSaid('handover:hook-failed')).toEqual([]);
  await second.close();
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  onTestFinished(() => closeSync(reader));
  const { first } = await chain(logged(folder, { audit: fifo }));
  expect(await first.said('handover:hook-failed')).toMatchObject({
    name: 'audit',
    error: { message: expect.stringContaining('neither a regular file nor a character device') },
  });
  await first.close();
});

it('G8: profiles of the start of the successor and of the drain of its predecessor', async () => {
  const folder = join(privateFolder(), 'profiles');
  const profiled = boot(async (inside) => {
    const handover = await inside.open({ probation: { duration: 0 } });
    await handover.step('work', function startingWork() {
      for (const end = performance.now() + 60; performance.now() < end; );
    });
    await inside.listen('http', { port: 0, host: '127.0.0.1' });
    await handover.ready();
    const { NODE_OPTIONS, HANDOVER_PROFILE } = process.env;
    inside.say('variables', { NODE_OPTIONS, HANDOVER_PROFILE });
    handover.closing.addEventListener('abort', function drainingWork() {
      for (const end = performance.now() + 60; performance.now() < end; );
    });
    handover.closing.addEventListener('abort', () =>
      setImmediate(function drainingWork() {
        for (const end = performance.now() + 60; performance.now() < end; );
      }),
    );
  });
  const env = { NODE_OPTIONS: '--no-deprecation' };
  const { chain: processes, first } = await chain(profiled, { env });
  await first.run(({ handover }, profile) => {
    handover.waitUntil(new Promise((resolve) => setTimeout(resolve, 150)));
    return handover.upgrade({ profile });
  }, folder);
  await first.gone();
  const second = await processes.generation(2);
  // What it starts itself is not profiled.
  expect(await second.said('variables')).toEqual(env);
  await until(() => readdirSync(folder).length === 2, { what: 'both profiles' });
  await second.close();

  const [drain, startUp] = readdirSync(folder).sort();
  expect(drain).toMatch(/^[0-9a-f-]{36}\.predecessor-drain\.cpuprofile$/);
  expect(startUp).toBe(drain?.replace('predecessor-drain', 'successor-start'));
  const functionsOf = (file = ''): string[] => {
    const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
      nodes: { callFrame: { functionName: string } }[];
      samples: number[];
    };
    expect(profile.samples.length).toBeGreaterThan(0);
    return profile.nodes.map(({ callFrame }) => callFrame.functionName);
  };
  expect(functionsOf(startUp)).toContain('startingWork');
  expect(functionsOf(drain)).toContain('drainingWork');
});
