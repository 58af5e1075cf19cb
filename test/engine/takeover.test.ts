// Way 2: an independently started process dials the one in charge by a path, and takes over. G6: nobody else can.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join, relative } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventChannel } from '../../lib/events.js';
import { dial } from '../../lib/fd/dial.js';
import { bindListener, closeFd, FdSocket } from '../../lib/fd/index.js';
import { Takeover } from '../../lib/platform/takeover.js';
import { Channel } from '../../lib/protocol/channel.js';
import { boot, useApps } from '../handover/apps.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, familyOf, privateFolder, server, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const apps = useApps();
const isRoot = process.getuid?.() === 0;

/** A process of its own for the takeover path, which tells how its start ended. */
const tries = (path: string) =>
  boot(async (inside, takeover) => {
    try {
      await inside.open({ takeover, readyTimeout: 3_000 });
      inside.say('opened');
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      inside.say('refused', { code, message });
    }
  }, path);

describe('G1, G2: a process started by somebody takes over', () => {
  it('by the path, under load, and so does the next one', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const family = await familyOf(apps, server({ options: { takeover, probation: { duration: 200 } } }));
    const visitors = new Visitors(await targetOf(family.first));
    let current = family.first;
    for (const generation of [2, 3]) {
      await visitors.answered(current.pid, 10);
      family.start();
      const next = await family.generation(generation);
      await next.booted;
      expect(await next.run(({ handover }) => handover.generation)).toBe(generation);
      await current.process.gone();
      await visitors.answered(next.pid, 10);
      current = next;
    }
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    expect(existsSync(takeover)).toBe(true);
    await current.close();
    expect(existsSync(takeover)).toBe(false);
  });

  it('from another working directory, by a relative path', async () => {
    const folder = privateFolder();
    const elsewhere = privateFolder();
    const takeover = join(folder, 'handover.sock');
    const options = { probation: { duration: 0 }, takeover: 'handover.sock' };
    const family = await familyOf(
      apps,
      [server({ options }), server({ options: { ...options, takeover: relative(elsewhere, takeover) } })],
      { cwd: folder },
    );
    family.start({ cwd: elsewhere });
    const second = await family.generation(2);
    await second.booted;
    expect(await second.run(({ handover }) => handover.generation)).toBe(2);
    await family.first.process.gone();
    await second.close();
    expect(existsSync(takeover)).toBe(false);
  });

  it('with everything that was kept, but not with the stderr of its predecessor', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const family = await familyOf(apps, [
      server({
        options: { takeover, probation: { duration: 0 } },
        before: ({ handover }) => handover.keep('state', Buffer.from('kept')),
      }),
      server({
        options: { takeover, probation: { duration: 0 } },
        before: ({ handover, say }) => say('state', handover.inherited('state')?.bytes().toString()),
      }),
    ]);
    const program = family.start();
    const second = await family.generation(2);
    await second.booted;
    expect(await second.said('state')).toBe('kept');
    await family.first.process.gone();
    await second.run(() => void process.stderr.write('my own stderr\n'));
    await program.errorLine(/my own stderr/);
    await second.close();
  });
});

describe('two starts at once', () => {
  it('G5: queue up on the lock: one after the other is in charge, nobody is refused', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const family = await familyOf(apps, server({ options: { takeover, probation: { duration: 100 } } }));
    const visitors = new Visitors(await targetOf(family.first));
    family.start();
    family.start();
    const both = await Promise.all([family.generation(2), family.generation(3)]);
    await Promise.all(both.map(({ booted }) => booted));
    const numbers = await Promise.all(both.map((app) => app.said<number>('generation')));
    expect([...numbers].sort()).toEqual([2, 3]);
    const [last, between] = numbers[0] === 3 ? both : [both[1], both[0]];
    await family.first.process.gone();
    await between.process.gone();
    await visitors.answered(last.pid, 5);
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    await last.close();
  });

  it('G5: and without any predecessor: one becomes the first, the other its successor', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const { env, generation } = await apps.dialled(server({ options: { takeover, probation: { duration: 0 } } }));
    const program = new URL('../handover/fixtures/app.mjs', import.meta.url);
    apps.start(program, { env });
    apps.start(program, { env });
    const both = await Promise.all([generation(1), generation(2)]);
    await Promise.all(both.map(({ booted }) => booted));
    const numbers = await Promise.all(both.map((app) => app.said<number>('generation')));
    expect([...numbers].sort()).toEqual([1, 2]);
    const [first, second] = numbers[0] === 1 ? both : [both[1], both[0]];
    await first.process.gone();
    await second.close();
  });
});

describe('what is at the path already', () => {
  it('a socket a crashed process left is replaced', async () => {
    const folder = privateFolder();
    const takeover = join(folder, 'handover.sock');
    const options = { takeover, probation: { duration: 0 } };
    const listen = { path: join(folder, 'web.sock') };
    const family = await familyOf(apps, server({ options, listen }));
    family.first.process.signal('SIGKILL');
    await family.first.process.gone();
    expect(existsSync(takeover)).toBe(true);
    family.start();
    const second = await family.generation(2);
    await second.booted;
    expect(await second.run(({ handover }) => [handover.generation, handover.isInCharge])).toEqual([1, true]);
    expect(await visit({ path: listen.path })).toEqual({ pid: second.pid });
    await second.close();
    expect([existsSync(takeover), existsSync(listen.path)]).toEqual([false, false]);
  });

  it("G6: a living stranger's socket is neither replaced nor obeyed", async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const stranger = net
      .createServer((socket) => socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      .listen(takeover);
    await once(stranger, 'listening');
    onTestFinished(() => {
      stranger.close();
    });
    const { ino } = statSync(takeover);
    const family = await familyOf(apps, tries(takeover));
    expect(await family.first.said('refused')).toMatchObject({ code: 'ERR_HANDOVER_PROTOCOL' });
    expect(statSync(takeover).ino).toBe(ino);
    await family.first.process.gone();
  });

  it('G6: a file that is no socket is not removed', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    writeFileSync(takeover, 'precious');
    const family = await familyOf(
      apps,
      boot(async (inside, path) => {
        const handover = await inside.open({ takeover: path });
        await handover.ready().catch((error) => inside.say('failed', error.code));
      }, takeover),
    );
    expect(await family.first.said('failed')).toBe('EADDRINUSE');
    expect(statSync(takeover).isFile()).toBe(true);
    await family.first.process.gone();
  });
});

describe('G6: who may take over', () => {
  it('the socket has mode 0600', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const { first } = await familyOf(apps, server({ options: { takeover } }));
    expect(statSync(takeover).mode & 0o777).toBe(0o600);
    await first.close();
  });

  it.each([0o777, 0o770, 0o1777])('a directory of mode %o is refused', async (mode) => {
    const folder = privateFolder();
    chmodSync(folder, mode);
    const { first } = await familyOf(apps, tries(join(folder, 'handover.sock')));
    expect(await first.said('refused')).toMatchObject({ code: 'ERR_HANDOVER_TAKEOVER_UNSAFE' });
    await first.process.gone();
  });

  it('allow() decides by uid, gid, pid and pidfd; a refused process learns why', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const policy = boot(async (inside, path) => {
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      subscribe('handover:takeover-refused', (event) => inside.say('takeover-refused', event));
      const allow = (peer: object & { pidfd?: number | undefined }) => {
        inside.say('asked', { ...peer, pidfd: typeof peer.pidfd });
        return inside.kept.allows === true;
      };
      await inside.open({ takeover: { path, allow }, probation: { duration: 0 } });
      await inside.listen('http', { port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    }, takeover);
    const family = await familyOf(apps, [policy, tries(takeover), policy]);
    const { first } = family;
    const program = family.start();
    const second = await family.generation(2);
    expect(await second.said('refused')).toMatchObject({ code: 'ERR_HANDOVER_TAKEOVER_REFUSED' });
    const identity = { uid: process.getuid?.(), gid: process.getgid?.(), pid: second.pid };
    expect(await first.said('asked')).toEqual({ ...identity, pidfd: 'number' });
    expect(await first.said('takeover-refused')).toMatchObject({ uid: identity.uid, pid: second.pid });
    expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
    expect(await program.exit()).toEqual({ code: 0, signal: null });

    await first.run(({ kept }) => {
      kept.allows = true;
    });
    family.start();
    const third = await family.generation(3);
    await third.booted;
    await first.process.gone();
    await third.close();
  });

  it('an allow() that throws refuses, and what it threw is published', async () => {
    const path = join(privateFolder(), 'handover.sock');
    const asked: unknown[] = [];
    const refused: object[] = [];
    const refusals = eventChannel('takeover-refused');
    const hear = (event: unknown): void => void refused.push(event as object);
    refusals.subscribe(hear);
    const allow = (peer: object): boolean => {
      asked.push(peer);
      throw new Error('no database');
    };
    const place = new Takeover({ path, allow });
    const listener = bindListener(place.endpoint.bind);
    const dialled: unknown[] = [];
    place.accept(
      listener,
      (channel) => {
        dialled.push(channel);
        channel.close();
      },
      () => {},
    );
    onTestFinished(() => {
      refusals.unsubscribe(hear);
      place.stop();
      closeFd(listener);
    });
    const channel = new Channel(new FdSocket(dial(path)), 'successor');
    onTestFinished(() => channel.close());
    const hello = { protocol: { min: 1, max: 1 }, generation: 0, pid: process.pid, version: '0.1.0', capabilities: [] };
    await channel.send('HELLO', hello).catch(() => {});
    const frames: object[] = [];
    for await (const { name, payload } of channel) frames.push({ name, payload });
    expect(frames).toMatchObject([{ name: 'ABORT', payload: { code: 'ERR_HANDOVER_TAKEOVER_REFUSED' } }]);
    expect(refused).toMatchObject([{ pid: process.pid, reason: 'Error: no database' }]);
    expect([asked.length, dialled]).toEqual([1, []]);
  });

  it('a process of another user is refused, although it could reach the socket', async ({ skip }) => {
    skip(!isRoot, 'only root can run a client as another user');
    const folder = temporaryFolder();
    chmodSync(folder, 0o711);
    const takeover = join(folder, 'handover.sock');
    const { first } = await familyOf(apps, server({ options: { takeover } }));
    chmodSync(takeover, 0o666);
    const client = `
      const socket = require('node:net').connect(${JSON.stringify(takeover)});
      socket.setEncoding('latin1').on('data', (text) => process.stdout.write(text)).on('end', () => process.exit());`;
    const answer = await textOf(
      spawn('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '-e', client], {
        env: {},
      }),
    );
    expect(answer).toContain('ERR_HANDOVER_TAKEOVER_REFUSED');
    expect(await first.said('handover:takeover-refused')).toMatchObject({ uid: 65_534, reason: 'not allowed' });
    expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
    await first.close();
  });

  it('what a stranger sends is no way in, and does not disturb', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const { first } = await familyOf(apps, server({ options: { takeover, probation: { duration: 0 } } }));
    const target = await targetOf(first);
    for (const bytes of [
      '',
      'GET / HTTP/1.1\r\n\r\n',
      Buffer.alloc(100, 0xff),
      Buffer.from([0, 0, 0, 2, 0, 4, 0, 0, 123, 125]),
    ]) {
      const socket = net.connect(takeover);
      // To its end: the answer is an ABORT, or nothing.
      socket.resume().on('error', () => {});
      socket.end(bytes);
      await once(socket, 'close');
      expect(await visit(target)).toEqual({ pid: first.pid });
    }
    expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
    await first.close();
  });
});

describe('one at a time', () => {
  it('a process that dials while a handover is under way is told so, and the one under way goes on', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const family = await familyOf(apps, [
      server({ options: { takeover, probation: { duration: 1_000 } } }),
      server({ options: { takeover, probation: { duration: 1_000 } } }),
      tries(takeover),
    ]);
    const upgrade = family.first.upgrade();
    const second = await family.generation(2);
    await second.booted;
    family.start();
    const third = await family.generation(3);
    expect(await third.said('refused')).toMatchObject({ code: 'ERR_HANDOVER_IN_PROGRESS' });
    await third.process.gone();
    expect((await upgrade).pid).toBe(second.pid);
    await family.first.process.gone();
    await second.close();
  });

  it('upgrade() while a process that dialled is under way is refused', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const family = await familyOf(apps, server({ options: { takeover, probation: { duration: 1_000 } } }));
    family.start();
    const second = await family.generation(2);
    await second.booted;
    expect(await failureOf(family.first)).toMatchObject({ code: 'ERR_HANDOVER_IN_PROGRESS', stillServing: true });
    await family.first.process.gone();
    await second.close();
  });
});

describe('G5: who dials and says nothing', () => {
  /** How connect(2) ended. */
  const connecting = (socket: net.Socket): Promise<string> =>
    new Promise((resolve) => {
      socket.once('connect', () => resolve('connected'));
      socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(String(code)));
    });

  /** Dials, says so much, and then nothing more. */
  const dialSilently = async (path: string, bytes: Uint8Array | string = ''): Promise<net.Socket> => {
    let socket = net.connect(path);
    // Its accept queue is full until it has had a turn.
    while ((await connecting(socket)) === 'EAGAIN') socket = net.connect(path);
    socket.resume().on('error', () => {});
    if (bytes.length > 0) socket.write(bytes);
    return socket;
  };

  it('keeps no handover waiting, whether it says nothing at all or half a frame', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const family = await familyOf(apps, server({ options: { takeover, probation: { duration: 0 } } }));
    const { first } = family;
    const halfAFrame = Buffer.from([0, 0, 0, 200, 0, 1, 0, 0, 123]);
    const silent = [await dialSilently(takeover), await dialSilently(takeover, halfAFrame)];
    family.start();
    const second = await family.generation(2);
    await second.said('handover:in-charge');
    await first.process.gone();
    const third = await second.upgrade();
    expect(third.generation).toBe(3);
    await second.process.gone();
    for (const socket of silent) socket.destroy();
    await (await family.generation(3)).close();
  });

  it('is let go after 10 s', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const { first } = await familyOf(apps, server({ options: { takeover, probation: { duration: 0 } } }));
    const silent = await dialSilently(takeover);
    const start = performance.now();
    await once(silent, 'close');
    expect(performance.now() - start).toBeGreaterThan(9_000);
    await first.close();
  });

  it.each([
    'takeover',
    'control',
  ] as const)('a thousand at the %s socket leave the server its descriptors', async (name) => {
    const path = join(privateFolder(), 'handover.sock');
    const options = name === 'takeover' ? { takeover: path } : { control: path };
    const { chain: processes, first } = await apps.chain(
      server({ options: { ...options, probation: { duration: 0 } } }),
    );
    const target = await targetOf(first);
    await first.run(() => {
      const { execFileSync } = process.getBuiltinModule('node:child_process');
      execFileSync('prlimit', ['--nofile=200:20000', `--pid=${process.pid}`]);
    });
    const silent: net.Socket[] = [];
    for (let i = 0; i < 1_000; i++) silent.push(await dialSilently(path));
    for (let i = 0; i < 20; i++) expect(await visit(target)).toEqual({ pid: first.pid });
    const { pid } = await first.upgrade();
    expect(await visit(target)).toEqual({ pid });
    await first.process.gone();
    for (const socket of silent) socket.destroy();
    await (await processes.generation(2)).close();
  });
});

describe('G5: the process that dialled in', () => {
  it('becomes the first when its predecessor is killed before COMMIT', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const slow = server({
      options: { takeover, probation: { duration: 0 } },
      before: ({ say, kept }) => {
        say('loading');
        return new Promise<void>((resolve) => {
          kept.goOn = resolve;
        });
      },
    });
    const family = await familyOf(apps, [server({ options: { takeover, probation: { duration: 0 } } }), slow]);
    const target = await targetOf(family.first);
    family.start();
    const second = await family.generation(2);
    await second.said('loading');
    family.first.process.signal('SIGKILL');
    await family.first.process.gone();
    // The listener waits in the successor: nobody is refused.
    const waiting = visit(target);
    await second.run(({ kept }) => (kept.goOn as () => void)());
    await second.booted;
    expect(await waiting).toEqual({ pid: second.pid });
    await second.said('duty');
    expect(await second.run(({ handover }) => handover.isInCharge)).toBe(true);
    expect(existsSync(takeover)).toBe(true);
    await second.close();
    expect(existsSync(takeover)).toBe(false);
  });

  it('releases the lock also where its predecessor was killed: the next one takes over', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const options = { takeover, probation: { duration: 0 }, readyTimeout: 3_000 };
    const slow = server({
      options,
      before: ({ say, kept }) => {
        say('loading');
        return new Promise<void>((resolve) => {
          kept.goOn = resolve;
        });
      },
    });
    const family = await familyOf(apps, [server({ options }), slow, server({ options })]);
    const target = await targetOf(family.first);
    family.start();
    const second = await family.generation(2);
    await second.said('loading');
    family.first.process.signal('SIGKILL');
    await family.first.process.gone();
    await second.run(({ kept }) => (kept.goOn as () => void)());
    await second.booted;
    family.start();
    const third = await family.generation(3);
    await third.booted;
    await second.process.gone();
    expect(await visit(target)).toEqual({ pid: third.pid });
    await third.close();
  });

  it('is ended when it hangs, by its pidfd; the next one takes over', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const options = { takeover, probation: { duration: 2_000, stallTimeout: 300 } };
    const family = await familyOf(apps, server({ options }));
    const { first } = family;
    family.start();
    const second = await family.generation(2);
    await second.booted;
    void second
      .run(() => {
        for (;;);
      })
      .catch(() => {});
    await second.process.gone();
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_PROBATION_FAILED' });
    expect(first.allSaid('server')).toEqual(['listening']);
    family.start();
    const third = await family.generation(3);
    await third.booted;
    await first.process.gone();
    await third.close();
  });
});

async function textOf(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stderr?.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  return text;
}
