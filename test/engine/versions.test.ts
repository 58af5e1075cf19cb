// G9: any version hands over to any other that has a protocol in common with it. The other is
// fixtures/other-version.mjs: no heartbeats, and frames and fields that this one does not know.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { closeFds, FdSocket } from '../../lib/fd/index.js';
import { IncomingHandover } from '../../lib/handover/incoming.js';
import { OutgoingHandover } from '../../lib/handover/outgoing.js';
import { Channel } from '../../lib/protocol/channel.js';
import { boot, useApps } from '../handover/apps.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { failureOf, familyOf, LOCALHOST, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const apps = useApps();
const OTHER = new URL('fixtures/other-version.mjs', import.meta.url);
const APP = new URL('../handover/fixtures/app.mjs', import.meta.url);

/** The working tree, whose successor is the other. */
const ours = (options: object = {}) =>
  boot(
    async (inside, given, other) => {
      const successor = { args: [other] };
      await inside.open({ probation: { duration: 300 }, successor, ...given });
      inside.say('listening', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
      await inside.handover.ready();
    },
    options,
    OTHER.pathname,
  );

interface FromOther {
  readonly pid: number;
  readonly port: number;
  readonly generation: number;
  readonly code?: string;
  readonly reason?: string;
}

it('G1, G2, G9: from the working tree to the other version, and on to the working tree', async () => {
  const address = 'tcp://127.0.0.1:0';
  const { env, generation } = await apps.dialled(ours());
  const program = apps.start(APP, { env: { ...env, SUCCESSOR: APP.pathname, ADDRESS: address } });
  const first = await generation(1);
  await first.booted;
  const visitors = new Visitors(await targetOf(first));
  await visitors.answered(first.pid, 5);

  const { pid, phases, claimed } = await first.upgrade();
  expect(claimed).toEqual(['web']);
  // Without heartbeats probation is the watch for its end alone.
  expect(phases.map(({ name }) => name)).toEqual(['PREPARE', 'PROBATION', 'COMMIT']);
  const other = apps.follow(pid);
  expect(await program.message<FromOther>('in-charge')).toMatchObject({ pid, generation: 2 });
  await first.process.gone();
  await visitors.answered(pid, 5);

  other.signal('SIGUSR2');
  const third = await generation(2);
  await third.booted;
  expect(await third.run(({ handover }) => handover.generation)).toBe(3);
  expect(await third.said('listening')).toMatchObject({ origin: 'inherited' });
  await program.message('retired');
  await visitors.answered(third.pid, 5);
  await visitors.stop();
  expect([visitors.refused, visitors.lost]).toEqual([[], []]);
  // The descriptors that came with frames it does not know are closed: it has stdin as its stdin only.
  const stdin = openDescriptors(third.pid).get(0);
  expect([...openDescriptors(third.pid).values()].filter((target) => target === stdin)).toHaveLength(1);
  other.signal('SIGTERM');
  await other.gone();
  expect(await visit(await targetOf(third))).toEqual({ pid: third.pid });
  await third.close();
});

it('G1, G5, G9: listeners of a kind only the other version knows are closed and reported; everything else is handed over', async () => {
  const { env, generation } = await apps.dialled(ours());
  const program = apps.start(OTHER, {
    env: { ...env, VSOCK: '1', SUCCESSOR: APP.pathname, ADDRESS: 'tcp://127.0.0.1:0' },
  });
  const { port, pid, inode: web } = await program.message<FromOther & { inode: string }>('ready');
  const target = { port, host: LOCALHOST };
  expect(await visit(target)).toEqual({ pid });
  program.child.kill('SIGUSR2');
  const second = await generation(1);
  expect(await second.said('listening')).toMatchObject({ origin: 'inherited' });
  // It cannot claim what it does not know, and says so: its predecessor has no reason to give the handover up.
  expect(await program.message('claimed')).toMatchObject({ claimed: ['web'], unclaimed: ['vm'], left: ['vm'] });
  // Another one came with COMMIT.
  expect(await second.said('handover:in-charge')).toMatchObject({ claimed: ['web'], unclaimed: ['vm', 'late'] });
  await program.message('retired');
  expect(await visit(target)).toEqual({ pid: second.pid });
  const opened = [
    await program.message<{ inode: string }>('opened'),
    await program.message<{ inode: string }>('opened'),
  ];
  const held = new Set(openDescriptors(second.pid).values());
  expect([web, ...opened.map(({ inode }) => inode)].map((inode) => held.has(`socket:[${inode}]`))).toEqual([
    true,
    false,
    false,
  ]);
  await second.close();
  await program.stop();
});

it('G5, G9: the other version dies while the working tree drains: recall needs no heartbeats', async () => {
  const { first } = await familyOf(apps, ours({ probation: { duration: 0 } }));
  const target = await targetOf(first);
  const held = visit(target, '/hold');
  await first.said('held');
  const { pid } = await first.upgrade();
  expect(await visit(target)).toEqual({ pid });
  apps.follow(pid).signal('SIGKILL');
  await first.said('handover:in-charge', 2);
  expect(await visit(target)).toEqual({ pid: first.pid });
  await first.run(({ servers }) => servers.http?.release());
  expect(await held).toEqual({ pid: first.pid });
  await first.close();
});

describe('G5, G9: no version in common', () => {
  it('the successor is too new', async () => {
    const { first } = await familyOf(apps, ours(), { env: { PROTOCOL: '2-3' } });
    const failure = await failureOf(first);
    expect(failure).toMatchObject({ code: 'ERR_HANDOVER_VERSION', phase: 'PREPARE', stillServing: true });
    expect(failure.message).toMatch(/this process speaks 1, the other one \(handover 99.0.0\) speaks 2 to 3/);
    expect(await visit(await targetOf(first))).toEqual({ pid: first.pid });
    await first.close();
  });

  it('the predecessor is too new: it is told why, and serves', async () => {
    const { env, generation } = await apps.dialled(
      boot(async (inside) => {
        await inside.open().catch((error) => inside.say('failed', { code: error.code, message: error.message }));
      }),
    );
    const program = apps.start(OTHER, {
      env: { ...env, PROTOCOL: '2-3', SUCCESSOR: APP.pathname, ADDRESS: 'tcp://127.0.0.1:0' },
    });
    const { port, pid } = await program.message<FromOther>('ready');
    program.child.kill('SIGUSR2');
    const second = await generation(1);
    expect(await second.said('failed')).toMatchObject({ code: 'ERR_HANDOVER_VERSION' });
    expect(await program.message<FromOther>('aborted')).toMatchObject({ code: 'ERR_HANDOVER_VERSION' });
    await second.process.gone();
    expect(await visit({ port, host: LOCALHOST })).toEqual({ pid });
    await program.stop();
  });

  it('versions overlap: the common one is spoken', async () => {
    const { first } = await familyOf(apps, ours({ probation: { duration: 0 } }), { env: { PROTOCOL: '1-7' } });
    const target = await targetOf(first);
    const { pid } = await first.upgrade();
    await first.process.gone();
    expect(await visit(target)).toEqual({ pid });
    const other = apps.follow(pid);
    other.signal('SIGTERM');
    await other.gone();
  });
});

describe('G9: the frozen transcript of version 1, played to the live classes', () => {
  const lines = readFileSync(new URL('../channel/transcripts/version-1.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', from = '', fdCount = '', hex = ''] = line.split(' ');
      return { name, from, fdCount: Number(fdCount), bytes: Buffer.from(hex, 'hex') };
    });
  const frame = (name: string, from: string) => {
    const found = lines.find((line) => line.name === name && line.from === from);
    if (!found) throw new Error(`no ${name} of a ${from}`);
    return found;
  };

  it('a successor follows a predecessor of version 1 from HELLO to RETIRE', async () => {
    const [ourEnd, theirEnd] = FdSocket.pair();
    const heard: string[] = [];
    const inherited: string[] = [];
    const taking = {
      inheritance: {
        inherit: (manifest: { entries: readonly { name: string }[] }, fds: Int32Array) => {
          inherited.push(...manifest.entries.map(({ name }) => name));
          for (const fd of fds) closers.push(fd);
        },
        adoptStderr: () => heard.push('stderr'),
        readHelpersStderr: () => {},
      },
      succession: {
        mayTakeCharge: () => true,
        mayInherit: async () => true,
        takeCharge: async () => void heard.push('charge'),
      },
      ends: {
        becomeAlone: () => heard.push('alone'),
        giveUp: (error: Error) => heard.push(error.message),
      },
      vitals: { connectionCount: () => 0, health: async () => true },
      adopterOf: () => undefined,
    };
    const closers: number[] = [];
    const play = async (name: string) => {
      const { bytes, fdCount } = frame(name, 'predecessor');
      await theirEnd.send(
        bytes,
        Int32Array.from({ length: fdCount }, () => 0),
      );
    };
    const greeting = { protocol: { min: 1, max: 1 }, pid: 1, version: '0.1.0', capabilities: ['heartbeat'] };
    const joining = IncomingHandover.join(new Channel(ourEnd, 'successor'), greeting, taking);
    await play('HELLO');
    await play('MANIFEST');
    const successor = await joining;
    expect(successor.generation).toBe(8);
    await successor.announceReady({ claimed: ['web', 'admin'], unclaimed: ['täglich'] });
    await play('COMMIT');
    await play('RETIRE');
    await successor.alone;
    expect(heard).toEqual(['charge', 'stderr', 'alone']);
    expect(inherited).toEqual(['web', 'admin', 'täglich', 'dns', 'stderr']);
    theirEnd.close();
    closeFds(closers);
  });

  it('a predecessor follows a successor of version 1 from HELLO to COMMITTED, and retires', async () => {
    const [ourEnd, theirEnd] = FdSocket.pair();
    const steps: string[] = [];
    const hello = {
      protocol: { min: 1, max: 1 },
      generation: 7,
      pid: 4711,
      version: '0.1.0',
      capabilities: ['heartbeat'],
    };
    const giving = {
      list: () => ({
        entries: [{ name: 'web', kind: 'tcp' as const, address: 'tcp://*:8080' }],
        fds: Int32Array.of(0),
      }),
      stepDown: async () => {
        steps.push('down');
        return { entries: [], fds: new Int32Array(0) };
      },
    };
    const takingBack = {
      mayTakeBack: async () => true,
      takeBack: async () => void steps.push('back'),
      letGo: () => void steps.push('let go'),
    };
    const process = {
      pid: 4712,
      exited: new Promise<undefined>(() => {}),
      isChild: true,
      wasStarted: true,
      hasEnded: () => false,
      stderrTail: async () => '',
      stop: async () => void steps.push('stop'),
      release: () => {},
    };
    const play = async (...names: string[]) => {
      for (const name of names) await theirEnd.send(frame(name, 'successor').bytes);
    };
    const theirs = new Channel(theirEnd, 'successor');
    const received: string[] = [];
    const reading = (async () => {
      for await (const { name, fds } of theirs) {
        closeFds(fds);
        received.push(name);
        if (name === 'HELLO') await play('HELLO');
        if (name === 'MANIFEST') await play('CLAIMED', 'READY', 'HEARTBEAT');
        if (name === 'COMMIT') await play('COMMITTED');
      }
    })();
    const predecessor = new OutgoingHandover(
      { channel: new Channel(ourEnd, 'predecessor'), process, hello },
      giving,
      takingBack,
    );
    await predecessor.prepare({ readyTimeout: 5_000, standby: false });
    const outcome = await predecessor.commit(2_000);
    expect(outcome).toMatchObject({ generation: 8, pid: 4712, claimed: ['web', 'admin'], unclaimed: ['täglich'] });
    await predecessor.retire();
    await reading;
    theirs.close();
    expect(received).toEqual(['HELLO', 'MANIFEST', 'COMMIT', 'RETIRE']);
    expect(steps).toEqual(['down']);
  });
});
