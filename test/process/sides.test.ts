// G4, G5: the logic of a handover from beginning to end, with its processes in this one, and time moved by hand.
import { existsSync } from 'node:fs';
import { get } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HandoverError } from '../../lib/errors.js';
import { describeFd } from '../../lib/fd/index.js';
import { HEALTH } from '../../lib/process/health-endpoint.js';
import { Deferred } from '../../lib/protocol/deferred.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, type Side, World } from './two-sides.js';
import { soon } from './virtual-clock.js';

expectNoLeaks();

/** An app that never gets ready. */
const loadsForEver: App = async (side) => {
  await side.listen('web');
  await new Promise<void>(() => {});
};

/** Which of the processes answers a client. */
function answering({ port }: Side): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', (pid) => resolve(Number(pid)));
    socket.once('error', reject);
  });
}

/** The generation that says it is ready; undefined: one that says that it is not. */
function probed({ resources }: Side): Promise<number | undefined> {
  const { fd = -1 } = resources.ledger.get(HEALTH) ?? {};
  const { local } = describeFd(fd).socket ?? {};
  const port = local && 'port' in local ? local.port : 0;
  return new Promise((resolve, reject) => {
    const request = get({ port, host: '127.0.0.1', path: '/readyz', agent: false }, async (response) => {
      const { ready, generation } = JSON.parse(String(await response.toArray())) as Readonly<Record<string, unknown>>;
      resolve(ready === true ? Number(generation) : undefined);
    });
    request.once('error', reject);
  });
}

/** Work that keeps a process draining until it is done. */
function work({ duties }: Side): () => void {
  const done = new Deferred<void>();
  duties.addWork(done.promise);
  return done.resolve;
}

async function failure(world: World, promise: Promise<unknown>): Promise<HandoverError> {
  const outcome = await world.settle(promise.then(() => undefined).catch((error: unknown) => error));
  expect(outcome).toBeInstanceOf(Error);
  return outcome as HandoverError;
}

/** Serves on after a handover that failed, as if none had been: it can hand over. */
async function expectServing(world: World, a: Side): Promise<void> {
  expect([a.phase, a.isInCharge, a.executor.closing.aborted]).toEqual(['serving', true, false]);
  expect(await answering(a)).toBe(a.pid);
  world.app = async (side) => {
    await side.listen('web');
    await side.ready();
  };
  world.options = { probation: { duration: 0 } };
  await world.settle(a.executor.upgrade());
  expect([a.isInCharge, world.b.isInCharge]).toEqual([false, true]);
}

describe('takeover', () => {
  it('G1: puts the successor in charge, and the predecessor retires', async () => {
    const { world, a } = await World.begin();
    expect([a.phase, a.isInCharge, await answering(a)]).toEqual(['serving', true, a.pid]);
    const outcome = await world.settle(a.executor.upgrade());
    expect(outcome).toMatchObject({ generation: 2, pid: world.b.pid, claimed: ['web'], unclaimed: [] });
    expect([a.isInCharge, world.b.isInCharge, await answering(world.b)]).toEqual([false, true, world.b.pid]);
    await world.clock.until(() => a.isClosed, 'the end of the predecessor');
    expect([world.b.phase, world.b.signals]).toEqual(['serving', []]);
  });

  it('runs a duty in one generation at a time', async () => {
    const log: string[] = [];
    const dutiful =
      (name: string): App =>
      async (side) => {
        side.duties.addDuty(async (signal) => {
          log.push(`${name} begins`);
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          log.push(`${name} ends`);
        });
        await side.ready();
      };
    const { world, a } = await World.begin({}, dutiful('a'));
    world.app = dutiful('b');
    await world.settle(a.executor.upgrade());
    expect(log).toEqual(['a begins', 'a ends', 'b begins']);
  });

  it('hands on what is kept as it is at COMMIT', async () => {
    const { world, a } = await World.begin();
    let visits = 1;
    a.resources.kept.keep('visits', () => Buffer.from(String(visits)));
    world.onFrame('predecessor', 'received', 'READY', () => visits++);
    await world.settle(a.executor.upgrade());
    expect(String(world.b.resources.kept.inherited('visits')?.bytes())).toBe('2');
  });

  it('of three generations, one after the other', async () => {
    const { world, a } = await World.begin();
    const done = work(a);
    await world.settle(a.executor.upgrade());
    const { b } = world;
    await world.settle(b.executor.upgrade());
    const c = world.b;
    expect([a, b, c].map(({ phase }) => phase)).toEqual(['draining', 'draining', 'serving']);
    await world.clock.advance(2_000);
    expect(c.executor.draining.map(({ generation }) => generation)).toEqual([2, 1]);
    done();
    await world.clock.until(() => a.isClosed && b.isClosed, 'the end of both');
    expect([c.phase, c.executor.generation, await answering(c)]).toEqual(['serving', 3, c.pid]);
  });
});

describe('health', () => {
  it('is told by the process in charge, also when the predecessor of one that drains retires', async () => {
    const { world, a } = await World.begin({ health: { endpoint: { host: '127.0.0.1', port: 0 } } });
    expect(await probed(a)).toBe(1);
    const done = [work(a)];
    await world.settle(a.executor.upgrade());
    const { b } = world;
    expect(await probed(b)).toBe(2);
    done.push(work(b));
    await world.settle(b.executor.upgrade());
    done[0]?.();
    await world.clock.until(() => a.isClosed, 'the end of the first');
    expect(b.phase).toBe('draining');
    for (let i = 0; i < 20; i++) expect(await probed(world.b)).toBe(3);
    done[1]?.();
    await world.clock.until(() => b.isClosed, 'the end of the second');
  });
});

describe('health of a successor whose predecessor has died', () => {
  const options = { health: { endpoint: { host: '127.0.0.1', port: 0 } } };

  it('is told while it loads: nobody else is left to say that it is alive', async () => {
    const { world, a } = await World.begin(options);
    world.app = loadsForEver;
    a.executor.upgrade().catch(() => {});
    await world.clock.advance(100);
    a.kill();
    await world.clock.advance(2_000);
    const { b } = world;
    expect([b.phase, await probed(b)]).toEqual(['loading', undefined]);
  });
});

describe('standby', () => {
  it('waits without accepting, and is put in charge when it is committed', async () => {
    const { world, a } = await World.begin();
    const standby = await world.settle(a.executor.prepare());
    const { b } = world;
    await world.clock.advance(60_000);
    expect([b.phase, b.isInCharge, a.isInCharge, await answering(a)]).toEqual(['ready', false, true, a.pid]);
    expect(await world.settle(standby.commit())).toMatchObject({ generation: 2, pid: b.pid });
    expect([b.isInCharge, a.isInCharge]).toEqual([true, false]);
  });

  it('is ended when it is discarded', async () => {
    const { world, a } = await World.begin();
    const standby = await world.settle(a.executor.prepare());
    const { b } = world;
    await world.settle(standby.discard());
    expect([b.isClosed, b.executor.closing.aborted]).toEqual([true, true]);
    await expectServing(world, a);
  });

  it('is lost when it dies, and cannot be committed then', async () => {
    const { world, a } = await World.begin();
    const standby = await world.settle(a.executor.prepare());
    world.b.kill();
    expect(await world.settle(standby.lost)).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    expect(await failure(world, standby.commit())).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    await expectServing(world, a);
  });

  it('is the only one', async () => {
    const { world, a } = await World.begin();
    const standby = await world.settle(a.executor.prepare());
    const { b } = world;
    for (const begin of ['upgrade', 'prepare'] as const) {
      expect(await failure(world, a.executor[begin]())).toMatchObject({
        code: 'ERR_HANDOVER_IN_PROGRESS',
        stillServing: true,
      });
    }
    await world.settle(standby.commit());
    expect([world.b, b.isInCharge]).toEqual([b, true]);
  });

  it('G5: takes charge when its predecessor dies', async () => {
    const { world, a } = await World.begin();
    await world.settle(a.executor.prepare());
    a.kill();
    await world.clock.until(() => world.b.isInCharge, 'the charge of the standby');
    expect(await answering(world.b)).toBe(world.b.pid);
  });
});

describe('probation', () => {
  const probation = { duration: 1_000, stallTimeout: 500 };

  it('passes after its time and a heartbeat', async () => {
    const { world, a } = await World.begin({ probation });
    const upgrade = a.executor.upgrade();
    const start = await world.clock.until(
      () => world.sides.length > 1 && world.b.phase === 'ready' && world.clock.now(),
      'READY',
    );
    await world.settle(upgrade);
    expect(world.clock.now() - start).toBeGreaterThanOrEqual(1_000);
    expect(world.clock.now() - start).toBeLessThan(1_500);
    expect(world.b.isInCharge).toBe(true);
  });

  it.each<[string, () => boolean | Promise<boolean>]>([
    ['is not well', () => false],
    ['cannot say that it is', () => Promise.reject(new Error('no database'))],
    [
      'throws where it should say so',
      () => {
        throw new Error('no database');
      },
    ],
    ['never says so', () => new Promise(() => {})],
  ])('fails where the app %s', async (_, ill) => {
    const { world, a } = await World.begin({ probation });
    let isWell = true;
    world.options = { probation, health: { check: () => isWell || ill() } };
    const upgrade = a.executor.upgrade();
    await world.clock.advance(500);
    isWell = false;
    expect(await failure(world, upgrade)).toMatchObject({
      code: 'ERR_HANDOVER_PROBATION_FAILED',
      phase: 'PROBATION',
      stillServing: true,
    });
    expect(world.b.signals[0]).toBe('SIGTERM');
    await expectServing(world, a);
  });

  it('fails where the successor falls silent for as long as it may', async () => {
    const { world, a } = await World.begin({ probation: { ...probation, duration: 10_000 } });
    const upgrade = a.executor.upgrade();
    await world.clock.advance(200);
    const { b } = world;
    b.stop();
    const start = world.clock.now();
    expect(await failure(world, upgrade)).toMatchObject({ code: 'ERR_HANDOVER_PROBATION_FAILED', phase: 'PROBATION' });
    // The silence, and the grace between the two signals.
    expect(world.clock.now() - start).toBeLessThan(500 + 1_000 + 500);
    expect(b.signals).toEqual(['SIGTERM', 'SIGKILL']);
    await expectServing(world, a);
  });

  it('fails where the successor dies', async () => {
    const { world, a } = await World.begin({ probation });
    const upgrade = a.executor.upgrade();
    await world.clock.advance(200);
    world.b.kill();
    expect(await failure(world, upgrade)).toMatchObject({
      code: 'ERR_HANDOVER_PROBATION_FAILED',
      phase: 'PROBATION',
      exitSignal: 'SIGKILL',
    });
    await expectServing(world, a);
  });

  it('G5: ends with the successor in charge where the predecessor dies', async () => {
    const { world, a } = await World.begin({ probation });
    a.executor.upgrade().catch(() => {});
    await world.clock.advance(200);
    const { b } = world;
    a.kill();
    await world.clock.until(() => b.isInCharge, 'the charge of the successor');
    expect(await answering(b)).toBe(b.pid);
  });
});

describe('abort', () => {
  it.each(['PREPARE', 'PROBATION'] as const)('by a signal ends the successor in %s', async (phase) => {
    const { world, a } = await World.begin({ probation: { duration: 5_000 } });
    if (phase === 'PREPARE') world.app = loadsForEver;
    const abort = new AbortController();
    const upgrade = a.executor.upgrade({ signal: abort.signal });
    await world.clock.advance(500);
    expect(a.phase).toBe(phase);
    const reason = new Error('not today');
    abort.abort(reason);
    expect(await failure(world, upgrade)).toBe(reason);
    expect([world.b.isClosed, world.b.isInCharge]).toEqual([true, false]);
    await expectServing(world, a);
  });

  it('removes no Unix path of the process that serves', async () => {
    const path = join(temporaryFolder(), 'web.sock');
    const onPath: App = async (side) => {
      const server = createServer((socket) => socket.end(`${side.pid}`));
      await side.resources.listen(server, { name: 'web', path });
      await side.ready();
    };
    const { world, a } = await World.begin({ probation: { duration: 5_000 } }, onPath);
    world.app = onPath;
    const abort = new AbortController();
    const upgrade = a.executor.upgrade({ signal: abort.signal });
    await world.clock.until(() => a.phase === 'PROBATION', 'the probation');
    abort.abort(new Error('not today'));
    await failure(world, upgrade);
    expect([world.b.isClosed, existsSync(path)]).toEqual([true, true]);
    await world.settle(a.executor.close());
    expect(existsSync(path)).toBe(false);
  });

  it('at COMMIT takes back what was given up', async () => {
    const { world, a } = await World.begin();
    const abort = new AbortController();
    const reason = new Error('not today');
    world.onFrame('predecessor', 'sent', 'COMMIT', () => abort.abort(reason));
    expect(await failure(world, a.executor.upgrade({ signal: abort.signal }))).toBe(reason);
    // It may have read COMMIT, and cannot be asked any more.
    expect(world.b.signals).toContain('SIGKILL');
    await expectServing(world, a);
  });

  it('while the app collects what it keeps: that is of no use any more', async () => {
    const { world, a } = await World.begin();
    const collected = new Deferred<Uint8Array>();
    const abort = new AbortController();
    a.resources.kept.keep('state', () => {
      abort.abort(new Error('not today'));
      return collected.promise;
    });
    await failure(world, a.executor.upgrade({ signal: abort.signal }));
    a.resources.kept.keep('state', Buffer.from('other'));
    collected.resolve(Buffer.from('state'));
    await expectServing(world, a);
    expect(String(world.b.resources.kept.inherited('state')?.bytes())).toBe('other');
  });

  it('by the successor while it takes charge: it does not come to be', async () => {
    const { world, a } = await World.begin();
    let hasBegun = false;
    world.app = async (side) => {
      side.duties.addDuty(() => {
        hasBegun = true;
      });
      const server = await side.listen('web');
      server.once('listening', () => void side.executor.close());
      await side.ready();
    };
    // Accepts when it is committed, not before.
    const standby = await world.settle(a.executor.prepare());
    expect(await failure(world, standby.commit())).toMatchObject({ code: 'ERR_HANDOVER_CLOSED', phase: 'COMMIT' });
    expect([hasBegun, world.b.outcome]).toEqual([false, expect.objectContaining({ code: 'ERR_HANDOVER_CLOSED' })]);
    await expectServing(world, a);
  });

  it.each(['PREPARE', 'PROBATION', 'COMMIT'])('close() in %s ends both', async (phase) => {
    const { world, a } = await World.begin({ probation: { duration: 5_000 } });
    if (phase === 'PREPARE') world.app = loadsForEver;
    const upgrade = a.executor.upgrade();
    if (phase === 'COMMIT') {
      world.onFrame('predecessor', 'sent', 'COMMIT', () => void a.executor.close());
    } else {
      await world.clock.advance(500);
      void a.executor.close();
    }
    expect(await failure(world, upgrade)).toMatchObject({ code: 'ERR_HANDOVER_CLOSED' });
    await world.clock.until(() => a.isClosed && world.b.isClosed, 'the end of both');
  });
});

describe('recall', () => {
  /** B is in charge, and A has something left to do. */
  async function draining(options = {}) {
    const { world, a } = await World.begin(options);
    const done = work(a);
    await world.settle(a.executor.upgrade());
    await world.clock.advance(500);
    const { b } = world;
    expect([a.phase, a.executor.closing.aborted, b.phase]).toEqual(['draining', true, 'serving']);
    return { world, a, b, done };
  }

  it('G5: takes everything back where the successor dies while this process drains', async () => {
    const { world, a, b, done } = await draining();
    const failed: unknown[] = [];
    world.on('failed', ({ code }) => failed.push(code));
    let duties = 0;
    a.duties.addDuty(() => duties++);
    expect(duties).toBe(0);
    b.kill();
    await world.clock.until(() => a.isInCharge, 'the charge of the predecessor');
    expect([failed, duties]).toEqual([['ERR_HANDOVER_SUCCESSOR_EXITED'], 1]);
    done();
    await expectServing(world, a);
  });

  it('begins its duties only when those of a successor that it cannot stop have ended', async () => {
    const log: string[] = [];
    const addDuty = ({ duties }: Side, name: string): void =>
      duties.addDuty(async (signal) => {
        log.push(`${name} begins`);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        log.push(`${name} ends`);
      });
    const { world, a } = await World.begin();
    addDuty(a, 'a');
    const done = [work(a)];
    let isHealthy = true;
    world.options = { health: { check: () => isHealthy } };
    world.onStart = (b) => {
      addDuty(b, 'b');
      done.push(work(b));
      // As without a pidfd in another pid namespace: no signal reaches it.
      Object.defineProperty(b, 'process', { value: { ...b.process, kill: () => false } });
    };
    await world.settle(a.executor.upgrade());
    isHealthy = false;
    await world.clock.until(() => a.isInCharge, 'the charge of the predecessor');
    expect([log, world.b.isClosed]).toEqual([['a begins', 'a ends', 'b begins', 'b ends', 'a begins'], false]);
    for (const end of done) end();
  });

  it('G5: and where it hangs for five times as long as it might on probation', async () => {
    const { world, a, b } = await draining({ probation: { duration: 0, stallTimeout: 1_000 } });
    b.stop();
    await world.clock.advance(4_000);
    expect(a.phase).toBe('draining');
    await world.clock.until(() => a.isInCharge, 'the charge of the predecessor', 10_000);
    expect(b.signals[0]).toBe('SIGKILL');
    await expectServing(world, a);
  });

  it('G5: and where it dies before it answers COMMIT', async () => {
    const { world, a } = await World.begin();
    world.onFrame('successor', 'received', 'COMMIT', () => world.b.kill());
    expect(await failure(world, a.executor.upgrade())).toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'COMMIT',
      stillServing: true,
    });
    await expectServing(world, a);
  });

  it('not where the successor ends on purpose: nobody wants the predecessor back', async () => {
    const { world, a, b, done } = await draining();
    await world.settle(b.executor.close());
    expect([a.phase, a.isInCharge]).toEqual(['draining', false]);
    done();
    await world.clock.until(() => a.isClosed, 'the end of the predecessor');
  });

  it('not where it ends in the moment in which it is in charge', async () => {
    const { world, a } = await World.begin();
    world.onFrame('successor', 'sent', 'COMMITTED', () => void world.b.executor.close());
    await world.settle(a.executor.upgrade());
    await world.clock.until(() => a.isClosed && world.b.isClosed, 'the end of both');
  });

  it('ends at once where this process was told to end while it drained', async () => {
    const { world, a, b } = await draining();
    const closed = a.executor.close();
    await world.clock.advance(100);
    expect(a.phase).toBe('draining');
    b.kill();
    // Its work is waited for as at any end: up to the drain's time.
    await world.settle(closed);
    expect(a.isInCharge).toBe(false);
  });

  it.each([
    'a duty of this process ends',
    'its state is collected',
  ])('G5: where it dies while %s: nobody is refused', async (what) => {
    const { world, a } = await World.begin();
    const stepped = new Deferred<Uint8Array>();
    const dies = (): Promise<Uint8Array> => {
      world.b.kill();
      return stepped.promise;
    };
    if (what === 'its state is collected') a.resources.kept.keep('state', dies);
    else
      a.duties.addDuty((signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(dies()))));
    expect(await failure(world, a.executor.upgrade())).toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'COMMIT',
    });
    expect([a.isInCharge, await answering(a)]).toEqual([true, a.pid]);
    // Stepping down, which has been overtaken, goes no further.
    stepped.resolve(new Uint8Array(1));
    await world.clock.advance(1_000);
    expect([a.phase, a.isInCharge, await answering(a)]).toEqual(['serving', true, a.pid]);
  });

  it('G5: where it hangs just before RETIRE: that waits for a sign of life', async () => {
    const { world, a, b, done } = await draining({ probation: { duration: 0, stallTimeout: 1_000 } });
    b.stop();
    done();
    await world.clock.advance(2_000);
    expect(a.phase).toBe('draining');
    await world.clock.until(() => a.isInCharge, 'the charge of the predecessor', 10_000);
    await expectServing(world, a);
  });

  it('G1: cuts nothing at the end of the drain that was recalled', async () => {
    const hold: App = async (side) => {
      await side.listen('web', () => {});
      await side.ready();
    };
    const { world, a } = await World.begin({ drain: { timeout: 5_000 } }, hold);
    world.app = hold;
    const client = connect(a.port, '127.0.0.1');
    const ends: string[] = [];
    client.on('error', () => ends.push('error')).on('close', () => ends.push('close'));
    await soon(() => a.resources.servers.connectionCount === 1, 'the connection');
    await world.settle(a.executor.upgrade());
    await world.clock.advance(1_000);
    world.b.kill();
    await world.clock.until(() => a.isInCharge, 'the charge of the predecessor');
    await world.clock.advance(10_000);
    expect([ends, a.resources.servers.connectionCount]).toEqual([[], 1]);
    client.destroy();
    await soon(() => a.resources.servers.connectionCount === 0, 'the end of the connection');
  });

  it('not after RETIRE', async () => {
    const { world, a, b, done } = await draining();
    done();
    world.onFrame('successor', 'received', 'RETIRE', () => b.kill());
    await world.clock.until(() => a.isClosed && b.isClosed, 'the end of both');
    expect(a.isInCharge).toBe(false);
  });
});

describe('relieved', () => {
  it('G4: a process whose successor has handed over and dies while it drains: it ends, and the third serves', async () => {
    const { world, a } = await World.begin();
    work(a);
    await world.settle(a.executor.upgrade());
    const { b } = world;
    work(b);
    await world.settle(b.executor.upgrade());
    const c = world.b;
    const failed: unknown[] = [];
    world.on('failed', ({ code }) => failed.push(code));
    b.kill();
    await world.clock.until(() => a.isClosed, 'the end of the first', 120_000);
    expect([a.isInCharge, c.phase, c.isInCharge, await answering(c)]).toEqual([false, 'serving', true, c.pid]);
    expect(failed).toContain('ERR_HANDOVER_SUCCESSOR_EXITED');
  });

  it('G4: a process that has not heard that its successor is in charge, and has handed over itself: it ends', async () => {
    const { world, a } = await World.begin();
    world.onFrame('successor', 'sent', 'COMMITTED', () => world.b.wires[0]?.stop());
    const upgrade = a.executor.upgrade();
    upgrade.catch(() => {});
    await world.clock.until(() => world.sides.length > 1 && world.b.isInCharge, 'the charge of the successor');
    const { b } = world;
    await world.settle(b.executor.upgrade());
    const c = world.b;
    expect(await failure(world, upgrade)).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'COMMIT' });
    expect(b.signals[0]).toBe('SIGKILL');
    await world.clock.until(() => a.isClosed, 'the end of the first', 120_000);
    expect([a.isInCharge, c.phase, c.isInCharge, await answering(c)]).toEqual([false, 'serving', true, c.pid]);
  });
});

describe('an end', () => {
  it('of the first process before it has loaded: it never is in charge', async () => {
    let began = 0;
    const { a } = await World.begin({}, async (side) => {
      await side.listen('web');
      side.duties.addDuty(() => began++);
      const ready = side.ready();
      void side.executor.close();
      await ready;
    });
    expect([a.isClosed, began, a.outcome]).toEqual([true, 0, expect.objectContaining({ code: 'ERR_HANDOVER_CLOSED' })]);
  });

  it('of the first process at any step from its listening to its charge', async () => {
    const begun: number[] = [];
    for (let step = 0; step < 20; step++) {
      let began = 0;
      const { world, a } = await World.begin({}, async (side) => {
        const server = await side.listen('web');
        side.duties.addDuty(() => began++);
        server.once('listening', async () => {
          for (let i = 0; i < step; i++) await undefined;
          void side.executor.close();
        });
        await side.ready();
      });
      await world.clock.until(() => a.isClosed, 'its end');
      // It is not told that it serves where it never will.
      expect(a.outcome).toEqual(began ? undefined : expect.objectContaining({ code: 'ERR_HANDOVER_CLOSED' }));
      begun.push(began);
    }
    expect([begun[0], begun.at(-1)]).toEqual([0, 1]);
  });

  it('asked for again, at any time: it comes once', async () => {
    const { world, a } = await World.begin();
    let hooks = 0;
    const run = async (): Promise<void> => {
      hooks++;
      await a.executor.close();
    };
    a.duties.addHook({ name: 'once', run: () => void run(), timeout: 1_000, after: undefined });
    await world.settle(a.executor.upgrade());
    await world.clock.until(() => a.isClosed, 'the end of the predecessor');
    await world.settle(a.executor.close());
    await world.settle(Promise.all([world.b.executor.close(), world.b.executor.close()]));
    expect([hooks, a.phase, world.b.phase]).toEqual([1, 'closed', 'closed']);
  });
});

describe('a limit', () => {
  it('ends a successor that does not get ready', async () => {
    const { world, a } = await World.begin({ readyTimeout: 3_000 });
    world.app = loadsForEver;
    const upgrade = a.executor.upgrade();
    await world.clock.advance(2_900);
    expect([a.phase, world.b.isAlive]).toEqual(['PREPARE', true]);
    expect(await failure(world, upgrade)).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'PREPARE' });
    expect(world.clock.now()).toBeLessThan(4_500);
    await expectServing(world, a);
  });

  it('ends a successor that does not say HELLO', async () => {
    const { world, a } = await World.begin({ readyTimeout: 3_000 });
    world.onStart = (side) => side.stop();
    const upgrade = a.executor.upgrade();
    expect(await failure(world, upgrade)).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'PREPARE' });
    expect(world.b.signals).toContain('SIGKILL');
  });

  it('ends a successor that does not answer COMMIT', async () => {
    const { world, a } = await World.begin({ probation: { duration: 0, stallTimeout: 60_000 } });
    world.onFrame('predecessor', 'sent', 'COMMIT', () => world.b.stop());
    const start = world.clock.now();
    const upgrade = a.executor.upgrade();
    await world.clock.advance(9_000);
    expect([a.phase, world.b.isAlive]).toEqual(['COMMIT', true]);
    expect(await failure(world, upgrade)).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'COMMIT' });
    expect(world.clock.now() - start).toBeLessThan(12_000);
    expect(world.b.signals[0]).toBe('SIGKILL');
    await expectServing(world, a);
  });

  it('ends a successor whose predecessor says nothing', async () => {
    const { world, a } = await World.begin({ readyTimeout: 100_000 });
    world.onFrame('predecessor', 'sent', 'MANIFEST', () => a.stop());
    a.executor.upgrade().catch(() => {});
    await world.clock.advance(9_900);
    expect(world.b.isAlive).toBe(true);
    await world.clock.until(() => world.b.isClosed, 'the end of the successor', 1_000);
    expect(world.b.outcome).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'PREPARE', stillServing: false });
  });

  it('ends a duty that does not end, and the handover goes on', async () => {
    const { world, a } = await World.begin();
    a.duties.addDuty(() => new Promise<void>(() => {}));
    const start = world.clock.now();
    await world.settle(a.executor.upgrade());
    expect(world.clock.now() - start).toBeGreaterThanOrEqual(1_000);
    expect(world.b.isInCharge).toBe(true);
  });

  it('tells the app to end when no connection has ended for a second, at the latest in the middle of its time', async () => {
    const hold: App = async (side) => {
      await side.listen('web', () => {});
      await side.ready();
    };
    const { world, a } = await World.begin({ drain: { timeout: 7_000 } }, hold);
    world.app = hold;
    let isTold = false;
    const begin = (): boolean => {
      isTold = true;
      return true;
    };
    a.duties.endAppBy({ begin, recalled: () => {} });
    const clients = Array.from({ length: 5 }, () => connect(a.port, '127.0.0.1'));
    const leftAre = (count: number) =>
      soon(() => a.resources.servers.connectionCount === count, `${count} connections to be left`);
    await leftAre(5);
    await world.settle(a.executor.upgrade());
    const toldAt: (number | false)[] = [];
    for (let left = 4; left >= 1; left--) {
      clients.pop()?.destroy();
      await leftAre(left);
      await world.clock.advance(900);
      toldAt.push(isTold && left);
    }
    // At 0.9, 1.8, 2.7 and 3.6 s: the drain has 7 s.
    expect(toldAt).toEqual([false, false, false, 1]);
    for (const client of clients) client.destroy();
    await world.clock.until(() => a.isClosed, 'the end of the predecessor', 10_000);
  });

  it('ends work that never ends', async () => {
    const { world, a } = await World.begin({ drain: { timeout: 5_000 } });
    work(a);
    await world.settle(a.executor.upgrade());
    await world.clock.advance(4_900);
    expect(a.isClosed).toBe(false);
    await world.clock.until(() => a.isClosed, 'the end of the predecessor', 1_000);
  });
});

describe('a predecessor that dies', () => {
  it('before MANIFEST leaves nothing', async () => {
    const { world, a } = await World.begin();
    world.onFrame('predecessor', 'sent', 'HELLO', () => a.kill());
    a.executor.upgrade().catch(() => {});
    await world.clock.until(() => world.sides.length > 1 && world.b.isClosed, 'the end of the successor');
    expect(world.b.outcome).toMatchObject({ code: 'ERR_HANDOVER_PEER_LOST', stillServing: false });
  });

  it('G5: while the successor loads leaves it in charge when it is ready', async () => {
    const { world, a } = await World.begin();
    const loaded = new Deferred<void>();
    world.app = async (side) => {
      await side.listen('web');
      await loaded.promise;
      await side.ready();
    };
    a.executor.upgrade().catch(() => {});
    await world.clock.advance(500);
    const { b } = world;
    a.kill();
    await world.clock.advance(500);
    expect(b.phase).toBe('loading');
    loaded.resolve();
    await world.clock.until(() => b.isInCharge, 'the charge of the successor');
    expect(await answering(b)).toBe(b.pid);
  });

  it.each(['READY', 'COMMITTED'] as const)('G5: when %s is sent leaves it in charge', async (name) => {
    const { world, a } = await World.begin();
    world.onFrame('successor', 'sent', name, () => a.kill());
    a.executor.upgrade().catch(() => {});
    await world.clock.until(() => world.sides.length > 1 && world.b.isInCharge, 'the charge of the successor');
    expect(await answering(world.b)).toBe(world.b.pid);
  });

  it('G5: while it is open who inherits: the successor gets ready meanwhile, and takes charge then', async () => {
    const { world, a } = await World.begin();
    const [loaded, decided] = [new Deferred<void>(), new Deferred<void>()];
    world.app = async (side) => {
      await side.listen('web');
      await loaded.promise;
      await side.ready();
    };
    world.onStart = ({ resources: { arbiter } }) => {
      const claim = arbiter.claim.bind(arbiter);
      arbiter.claim = (...claimed) => decided.promise.then(() => claim(...claimed));
    };
    a.executor.upgrade().catch(() => {});
    await world.clock.advance(500);
    const { b } = world;
    a.kill();
    await world.clock.advance(500);
    loaded.resolve();
    await world.clock.advance(500);
    expect([b.phase, b.isInCharge]).toEqual(['ready', false]);
    decided.resolve();
    await world.clock.until(() => b.isInCharge, 'the charge of the successor');
    expect([await answering(b), b.outcome]).toEqual([b.pid, undefined]);
  });
});
