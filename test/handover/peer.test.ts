// Each side against a peer that plays the other one over a real socketpair, with real descriptors: the protocol in
// order, out of order, and broken. Nothing is leaked, and the peer is told why.
import { openSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HandoverError } from '../../lib/errors.js';
import { eventChannel } from '../../lib/events.js';
import { closeFd, closeFds } from '../../lib/fd/index.js';
import { helloOf } from '../../lib/handover/identity.js';
import { IncomingHandover } from '../../lib/handover/incoming.js';
import { OutgoingHandover } from '../../lib/handover/outgoing.js';
import type { Unclaimed } from '../../lib/handover/unclaimed.js';
import type { Exit } from '../../lib/platform/env.js';
import type { SuccessorProcess } from '../../lib/platform/successor-process.js';
import { type OfferedConnection, VERDICT } from '../../lib/protocol/batches.js';
import { Deferred } from '../../lib/protocol/deferred.js';
import {
  encodeFrame,
  type FrameName,
  type Hello,
  type Manifest,
  type ManifestEntry,
  type Role,
} from '../../lib/protocol/frames.js';
import type { DescriptorList } from '../../lib/protocol/manifest.js';
import type { Movable } from '../../lib/protocols/protocol.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { Peer } from './peer.js';

expectNoLeaks();

const hello = (pid: number, generation = 1, capabilities: readonly string[] = ['heartbeat']): Hello => ({
  protocol: { min: 1, max: 1 },
  generation,
  pid,
  version: '0.1.0',
  capabilities,
});

const entry = (name: string): ManifestEntry => ({ name, kind: 'descriptor', address: '' });

const GARBAGE = Buffer.alloc(64, 0xff);
/** A frame of a type nobody knows, which is not marked as optional. */
const UNKNOWN = Buffer.from([0, 0, 0, 0, 0x7f, 0xff, 0, 0]);
const UNKNOWN_OPTIONAL = Buffer.from([0, 0, 0, 0, 0xff, 0xff, 0, 0]);

/** A descriptor the test owns. */
function file(): number {
  const fd = openSync('/dev/null', 'r');
  onTestFinished(() => closeFd(fd));
  return fd;
}

/** Resolves when the side under test has acted on the next frame of this name. */
async function received(role: Role, name: FrameName): Promise<void> {
  const frames = eventChannel('frame');
  await new Promise<void>((resolve) => {
    const listener = (frame: unknown): void => {
      const seen = frame as { direction: string; name: string; role: string };
      if (seen.direction !== 'received' || seen.name !== name || seen.role !== role) return;
      frames.unsubscribe(listener);
      resolve();
    };
    frames.subscribe(listener);
  });
  // It is published before it is acted on.
  await nextTurn();
}

it.each([
  [true, ['heartbeat', 'move']],
  [false, ['heartbeat']],
])('HELLO says whether connections move: %s', (moves, capabilities) => {
  expect(helloOf({ pid: 1, generation: 2, moves })).toMatchObject({
    pid: 1,
    generation: 2,
    capabilities: [...capabilities, 'arbiter'],
  });
});

const open = (): number => openDescriptors().size;

describe('predecessor', () => {
  interface Beginning {
    readonly list?: DescriptorList;
    /** What `stepDown` resolves with. */
    readonly all?: DescriptorList;
    readonly isChild?: boolean;
    readonly standby?: boolean;
    readonly probation?: number;
    readonly stall?: number;
    readonly readyTimeout?: number;
    readonly unclaimed?: Unclaimed;
  }

  const NOTHING: DescriptorList = { entries: [], fds: new Int32Array(0) };

  function begin({
    list = NOTHING,
    all = list,
    isChild = true,
    standby = false,
    probation = 0,
    stall = 10_000,
    readyTimeout = 2_000,
    unclaimed = 'fail',
  }: Beginning = {}) {
    const peer = new Peer('predecessor');
    const calls: string[] = [];
    const exited = new Deferred<Exit>();
    let hasExited = false;
    const end = (exit: Exit): void => {
      hasExited = true;
      exited.resolve(exit);
    };
    const successor: SuccessorProcess = {
      pid: 4711,
      isChild,
      wasStarted: isChild,
      hasEnded: () => hasExited,
      exited: exited.promise,
      stderrTail: async () => 'its last line',
      async stop({ grace } = {}) {
        if (hasExited) calls.push('stop what it left');
        else calls.push(grace === 0 ? 'kill it' : 'stop it');
        if (!hasExited) end({ code: null, signal: grace === 0 ? 'SIGKILL' : 'SIGTERM' });
      },
      release: () => calls.push('release'),
    };
    const predecessor = new OutgoingHandover(
      { channel: peer.channel, process: successor, hello: hello(1) },
      {
        list({ stderr }) {
          calls.push(stderr ? 'list with stderr' : 'list');
          return list;
        },
        async stepDown() {
          calls.push('step down');
          return all;
        },
      },
      {
        mayTakeBack: async () => true,
        takeBack: async () => void calls.push('take back'),
        letGo: () => calls.push('let go'),
      },
    );
    const steps = (async () => {
      try {
        await predecessor.prepare({ readyTimeout, standby, probation: probation > 0, unclaimed });
        if (probation > 0) await predecessor.probate(probation, stall);
        return await predecessor.commit(stall);
      } catch (error) {
        throw await predecessor.giveUp(error);
      }
    })();
    steps.catch(() => {});
    return { peer, predecessor, steps, calls, end: () => end({ code: 7, signal: null }) };
  }

  const greet = (peer: Peer) => peer.send('HELLO', hello(4711, 0));
  const claims = { claimed: ['web'], unclaimed: ['old'], left: ['old'] };
  const older = { generation: 0, pid: 12, startTime: '34', age: 56, connections: 7 };

  it('the protocol in order', async () => {
    const entries = [entry('web'), entry('old')];
    const fds = Int32Array.of(file(), file());
    // At COMMIT one has been replaced, and one is new.
    const all = { entries: [...entries.slice(0, 1), entry('old'), entry('late')], fds: Int32Array.of(...fds, file()) };
    const { peer, predecessor, steps, calls } = begin({ list: { entries, fds }, all });
    expect(await peer.next()).toEqual({
      name: 'HELLO',
      payload: { ...hello(1), handoverId: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      fdCount: 0,
    });
    await greet(peer);
    expect(await peer.next()).toEqual({ name: 'MANIFEST', payload: { entries, more: false }, fdCount: 2 });
    expect(calls).toEqual(['list with stderr']);
    await peer.send('HEARTBEAT', { healthy: true });
    await peer.write(UNKNOWN_OPTIONAL);
    await peer.send('CLAIMED', claims);
    await peer.send('READY', {});
    // What is in the MANIFEST does not come again.
    const delta = { entries: [entry('old'), entry('late')], more: false };
    expect(await peer.next()).toEqual({ name: 'COMMIT', payload: delta, fdCount: 2 });
    expect(calls).toEqual(['list with stderr', 'step down']);
    // It does not drain yet, so there is nothing to report.
    predecessor.report(9, []);
    await peer.send('COMMITTED', {});
    expect(await steps).toMatchObject({ generation: 2, pid: 4711, claimed: ['web'], unclaimed: ['old'] });
    predecessor.report(3, [older]);
    expect(await peer.next()).toMatchObject({ name: 'HEARTBEAT', payload: { connections: 3, draining: [older] } });
    // It waits for a sign of life: from here on the successor is alone.
    await Promise.all([predecessor.retire(), peer.send('HEARTBEAT', { healthy: true })]);
    expect(await peer.rest()).toEqual(['RETIRE']);
    expect(calls).toEqual(['list with stderr', 'step down']);
  });

  describe('G9: a successor of an older version, which does not decide what it may leave', () => {
    const old = { claimed: ['web'], unclaimed: ['old'] };

    it('G1: leaves a listener: ended before COMMIT', async () => {
      const list = { entries: [entry('web'), entry('old')], fds: Int32Array.of(file(), file()) };
      const begun = begin({ list });
      await greet(begun.peer);
      await begun.peer.send('CLAIMED', { ...old, bound: [{ name: 'web', address: 'tcp://*:81' }] });
      await begun.peer.send('READY', {});
      await expect(begun.steps).rejects.toMatchObject({
        code: 'ERR_HANDOVER_UNCLAIMED',
        message: expect.stringMatching(/"old" at .*It has bound tcp:\/\/\*:81/),
      });
      expect(begun.calls).toEqual(['list with stderr', 'stop it']);
    });

    it.each<[string, Unclaimed, boolean]>([
      ['the old process says that it may', ['old'], false],
      ['it is optional', 'fail', true],
    ])('goes on where %s', async (_, unclaimed, isOptional) => {
      const entries = [entry('web'), { ...entry('old'), ...(isOptional && { isOptional }) }];
      const { peer, steps, calls } = begin({ list: { entries, fds: Int32Array.of(file(), file()) }, unclaimed });
      await greet(peer);
      await peer.send('CLAIMED', old);
      await peer.send('READY', {});
      while ((await peer.next()).name !== 'COMMIT') expect(calls).not.toContain('stop it');
      await peer.send('COMMITTED', {});
      expect(await steps).toMatchObject({ claimed: ['web'], unclaimed: ['old'] });
    });
  });

  /** Gives up with this code; the peer is told, everything is taken back, nothing stays open. */
  async function givesUp(
    { peer, steps, calls }: ReturnType<typeof begin>,
    code: string,
    message: RegExp,
    before: number,
  ): Promise<HandoverError> {
    const error = (await steps.then(
      () => expect.unreachable('it went on'),
      (error) => error,
    )) as HandoverError;
    expect(error).toMatchObject({
      name: 'HandoverError',
      code,
      message: expect.stringMatching(message),
      stillServing: true,
    });
    expect(await peer.rest()).toContain('ABORT');
    // It has not stopped accepting, so there is nothing to take back.
    expect(calls.filter((call) => !call.startsWith('list'))).toEqual(['stop it']);
    peer.close();
    await until(() => open() <= before, { what: 'what came in to be closed' });
    return error;
  }

  const frames: Record<string, (peer: Peer) => Promise<void>> = {
    HELLO: greet,
    CLAIMED: (peer) => peer.send('CLAIMED', claims),
    READY: (peer) => peer.send('READY', {}),
    HEARTBEAT: (peer) => peer.send('HEARTBEAT', { healthy: true, connections: 5 }),
    COMMITTED: (peer) => peer.send('COMMITTED', {}),
  };

  it.each([
    ['READY', ['READY'], /READY while starting/],
    ['CLAIMED', ['CLAIMED'], /CLAIMED while starting/],
    ['COMMITTED', ['COMMITTED'], /COMMITTED while starting/],
    ['HEARTBEAT', ['HEARTBEAT'], /HEARTBEAT while starting/],
    ['HELLO twice', ['HELLO', 'HELLO'], /HELLO while offered/],
    ['READY without CLAIMED', ['HELLO', 'READY'], /READY while offered/],
    ['CLAIMED twice', ['HELLO', 'CLAIMED', 'CLAIMED'], /CLAIMED while claimed/],
    ['COMMITTED before COMMIT', ['HELLO', 'CLAIMED', 'COMMITTED'], /COMMITTED while claimed/],
  ])('G5: out of order: %s', async (_, names, message) => {
    const before = open();
    const begun = begin();
    for (const name of names) await frames[name]?.(begun.peer);
    await givesUp(begun, 'ERR_HANDOVER_PROTOCOL', message, before);
  });

  it.each([
    ['bytes that are no frame', (peer: Peer) => peer.write(GARBAGE), /broke the protocol: frame of 4294967295 bytes/],
    ['a frame of an unknown type', (peer: Peer) => peer.write(UNKNOWN), /frame type 32767 is not known/],
    [
      'a frame that only a predecessor sends',
      async (peer: Peer) => {
        await greet(peer);
        await peer.send('MANIFEST', { entries: [], more: false });
      },
      /MANIFEST came from a successor/,
    ],
    ['a payload that is none', (peer: Peer) => peer.write(Buffer.from([0, 0, 0, 1, 0, 1, 0, 0, 0x7b])), /HELLO: /],
  ])('G5: %s', async (_, act, message) => {
    const before = open();
    const begun = begin();
    await act(begun.peer);
    await givesUp(begun, 'ERR_HANDOVER_PROTOCOL', message, before);
  });

  it.each([
    [
      'descriptors with a frame',
      2,
      (peer: Peer) => peer.send('HELLO', hello(2, 0), [file(), file()]),
      /sent descriptors with HELLO/,
    ],
    [
      'descriptors with one that is passed over',
      2,
      async (peer: Peer) => {
        await greet(peer);
        await peer.send('HEARTBEAT', { healthy: true }, [file(), file()]);
      },
      /sent descriptors with HEARTBEAT/,
    ],
    [
      'descriptors with the word that it gives up',
      1,
      (peer: Peer) => peer.send('ABORT', { reason: 'no database' }, [file()]),
      /sent descriptors with ABORT/,
    ],
    [
      'descriptors of no frame',
      3,
      (peer: Peer) =>
        peer
          .write(Buffer.from([0]), Array.from({ length: 3 }, file))
          .then(() => peer.write(Buffer.from([0, 0, 0, 0, 1, 0, 0]))),
      /./,
    ],
  ])('G7: %s are closed', async (_, given, act, message) => {
    const before = open() + given;
    const begun = begin();
    await act(begun.peer);
    await givesUp(begun, 'ERR_HANDOVER_PROTOCOL', message, before);
  });

  it('G9: no common version', async () => {
    const before = open();
    const begun = begin();
    await begun.peer.send('HELLO', { ...hello(2, 0), protocol: { min: 2, max: 3 }, version: '9.0.0' });
    await givesUp(
      begun,
      'ERR_HANDOVER_VERSION',
      /this process speaks 1, the other one \(handover 9\.0\.0\) speaks 2 to 3/,
      before,
    );
  });

  it('G8: the successor gives up and says why', async () => {
    const before = open();
    const begun = begin();
    await greet(begun.peer);
    await begun.peer.send('ABORT', { reason: 'no database' });
    await givesUp(begun, 'ERR_HANDOVER_ABORTED', /no database/, before);
  });

  it.each([
    ['a code of ours', 'ERR_HANDOVER_PID_FILE', 'ERR_HANDOVER_PID_FILE'],
    ['told to end', 'ERR_HANDOVER_CLOSED', 'ERR_HANDOVER_CLOSED'],
    ['a code of a later version', 'ERR_HANDOVER_UNHEARD_OF', 'ERR_HANDOVER_ABORTED'],
  ])('G8, G9: it gives up with a code: %s', async (_, code, expected) => {
    const before = open();
    const begun = begin();
    await greet(begun.peer);
    await begun.peer.send('ABORT', { code, reason: 'as it says' });
    await givesUp(begun, expected, /the successor gave up: as it says/, before);
  });

  it('G5: it dials in and is not ready in time', async () => {
    const before = open();
    const begun = begin({ isChild: false, readyTimeout: 100 });
    await greet(begun.peer);
    await givesUp(begun, 'ERR_HANDOVER_TIMEOUT', /the successor was not ready within 100 ms/, before);
    // Its stderr is its own.
    expect(begun.calls).toContain('list');
  });

  it('G6: who dials in and never greets is told why, and left alone: it may be any tool of this user', async () => {
    const { peer, steps, calls } = begin({ isChild: false, readyTimeout: 100 });
    await expect(steps).rejects.toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'PREPARE', stillServing: true });
    expect(await peer.rest()).toEqual(['HELLO', 'ABORT']);
    expect(calls).toEqual([]);
  });

  it('a standby is told in its MANIFEST to wait', async () => {
    const { peer, predecessor } = begin({ standby: true });
    await peer.next();
    await greet(peer);
    const payload = { entries: [], more: false, standby: true };
    expect(await peer.next()).toEqual({ name: 'MANIFEST', payload, fdCount: 0 });
    await predecessor.giveUp(new Error('enough'));
  });

  it.each([
    ['at once', 0],
    ['in the middle of the header', 3],
    ['in the middle of a frame', 20],
  ])('G5: it dies %s: how it ended and what it said last is in the error', async (_, bytes) => {
    const { peer, steps, calls, end } = begin();
    if (bytes > 0) await peer.part('HELLO', hello(4711, 0), bytes);
    peer.close();
    end();
    await expect(steps).rejects.toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'PREPARE',
      exitCode: 7,
      exitSignal: null,
      stderr: 'its last line',
      message: expect.stringMatching(/\(exit code 7\)\n {2}\| its last line/),
    });
    // It has ended by itself: its exit is waited for, and only its children are ended.
    expect(calls).toEqual(['stop what it left']);
  });

  it('G8: it gives up with COMMITTED, in one read', async () => {
    const { peer, steps, calls } = begin();
    for (const name of ['HELLO', 'CLAIMED', 'READY']) await frames[name]?.(peer);
    for (const name of ['HELLO', 'MANIFEST', 'COMMIT']) expect(await peer.next()).toMatchObject({ name });
    const abort = encodeFrame('ABORT', { code: 'ERR_HANDOVER_INTERNAL', reason: 'a duty threw' }, 0);
    await peer.write(Buffer.concat([encodeFrame('COMMITTED', {}, 0), abort]));
    await expect(steps).rejects.toMatchObject({
      code: 'ERR_HANDOVER_INTERNAL',
      message: expect.stringContaining('a duty threw'),
    });
    expect(calls).toEqual(['list with stderr', 'step down', 'take back', 'stop it']);
  });

  it('G8: it dies before MANIFEST is sent: that it ended is the reason, not that the send failed', async () => {
    const { peer, steps, calls, end } = begin();
    await greet(peer);
    peer.close();
    end();
    await expect(steps).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'PREPARE', exitCode: 7 });
    expect(calls.at(-1)).toBe('stop what it left');
  });

  it('G8: it gives up before MANIFEST is sent: what it said is the reason', async () => {
    const { peer, steps } = begin();
    await greet(peer);
    await peer.send('ABORT', { code: 'ERR_HANDOVER_CLOSED', reason: 'SIGTERM' });
    peer.close();
    await expect(steps).rejects.toMatchObject({ code: 'ERR_HANDOVER_CLOSED', phase: 'PREPARE' });
  });

  it.each([
    ['called off', (predecessor: OutgoingHandover) => predecessor.abort('changed my mind')],
    ['with the channel closed and the process alive', (_: OutgoingHandover, peer: Peer) => peer.close()],
  ])('G4, G5: once COMMIT is out it may serve: %s, it is killed before anything is taken back', async (_, act) => {
    const { peer, predecessor, steps, calls } = begin();
    for (const name of ['HELLO', 'CLAIMED', 'READY']) await frames[name]?.(peer);
    for (const name of ['HELLO', 'MANIFEST', 'COMMIT']) expect(await peer.next()).toMatchObject({ name });
    act(predecessor, peer);
    await expect(steps).rejects.toBeDefined();
    expect(calls).toEqual(['list with stderr', 'step down', 'kill it', 'take back', 'stop what it left']);
  });

  it('G5: it dies between COMMIT and COMMITTED: this process accepts again', async () => {
    const { peer, steps, calls, end } = begin();
    for (const name of ['HELLO', 'CLAIMED', 'READY']) await frames[name]?.(peer);
    expect(await peer.next()).toMatchObject({ name: 'HELLO' });
    expect(await peer.next()).toMatchObject({ name: 'MANIFEST' });
    expect(await peer.next()).toMatchObject({ name: 'COMMIT' });
    peer.close();
    end();
    await expect(steps).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'COMMIT', exitCode: 7 });
    expect(calls).toEqual(['list with stderr', 'step down', 'take back', 'stop what it left']);
  });

  /** The successor is in charge; this process still moves connections, or drains. */
  async function handedOver(phase: 'MIGRATE' | 'DRAIN') {
    const begun = begin({ stall: 200 });
    await begun.peer.send('HELLO', hello(4711, 0, ['heartbeat', 'move']));
    for (const name of ['CLAIMED', 'READY', 'HEARTBEAT']) await frames[name]?.(begun.peer);
    for (const name of ['HELLO', 'MANIFEST', 'COMMIT']) expect(await begun.peer.next()).toMatchObject({ name });
    await begun.peer.send('COMMITTED', {});
    await begun.steps;
    if (phase === 'DRAIN') begun.predecessor.settle();
    begun.calls.length = 0;
    return begun;
  }

  /** A connection that can move, and what becomes of it. */
  const movable = (fates: string[]): Movable => ({
    listener: 'web',
    protocol: 'http1',
    identity: {},
    detach: () => ({ fd: file(), head: new Uint8Array(0), state: new Uint8Array(0) }),
    release: () => void fates.push('released'),
    resume: () => void fates.push('resumed'),
    stay: () => void fates.push('stayed'),
  });

  /** The next frame but reports, which come when they come. */
  const next = async (peer: Peer) => {
    for (;;) {
      const frame = await peer.next();
      if (frame.name !== 'HEARTBEAT') return frame;
    }
  };

  describe.each(['MIGRATE', 'DRAIN'] as const)('G5: after COMMIT, in %s, the successor', (phase) => {
    it('dies', async () => {
      const { peer, predecessor, calls, end } = await handedOver(phase);
      peer.close();
      end();
      const reason = await predecessor.failed.catch((error) => error);
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase });
      await expect(predecessor.retire()).rejects.toBe(reason);
      expect(await predecessor.giveUp(reason)).toMatchObject({
        code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
        phase,
        exitCode: 7,
        stillServing: true,
        connectionsLost: 5,
        message: expect.stringContaining('5 connections it owned were lost'),
      });
      expect(calls).toEqual(['take back', 'stop what it left']);
    });

    it('falls silent: it may only be slow, so it is killed before anything is taken back', async () => {
      const { peer, predecessor, calls } = await handedOver(phase);
      const reason = await predecessor.failed.catch((error) => error);
      // Five times what it may be silent on probation.
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', message: expect.stringContaining('for 1000 ms') });
      const error = await predecessor.giveUp(reason);
      expect(error).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase, exitSignal: 'SIGKILL' });
      expect(calls).toEqual(['kill it', 'take back', 'stop what it left']);
      expect(await peer.rest()).toEqual(['ABORT']);
    });

    it('falls ill: the same', async () => {
      const { peer, predecessor, calls } = await handedOver(phase);
      await peer.send('HEARTBEAT', { healthy: false });
      const reason = await predecessor.failed.catch((error) => error);
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_PROBATION_FAILED' });
      await predecessor.giveUp(reason);
      expect(calls).toEqual(['kill it', 'take back', 'stop what it left']);
    });

    it('breaks the protocol: the same', async () => {
      const { peer, predecessor, calls } = await handedOver(phase);
      await peer.send('COMMITTED', {});
      const reason = await predecessor.failed.catch((error) => error);
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_PROTOCOL' });
      await predecessor.giveUp(reason);
      expect(calls).toEqual(['kill it', 'take back', 'stop what it left']);
    });

    it('gives up: it serves no more, so everything is taken back at once', async () => {
      const { peer, predecessor, calls } = await handedOver(phase);
      await peer.send('ABORT', { code: 'ERR_HANDOVER_PID_FILE', reason: 'disk full' });
      const reason = await predecessor.failed.catch((error) => error);
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_PID_FILE', phase });
      await predecessor.giveUp(reason);
      expect(calls).toEqual(['take back', 'stop it']);
    });

    it('is told to end: no failure, nothing is taken back, and this process drains to its end', async () => {
      const { peer, predecessor, calls } = await handedOver(phase);
      const heard = received('predecessor', 'ABORT');
      await peer.send('ABORT', { code: 'ERR_HANDOVER_CLOSED', reason: 'SIGTERM' });
      await heard;
      expect(predecessor.phase).toBe('DRAIN');
      await predecessor.retire();
      expect(predecessor.phase).toBe('RETIRE');
      // Nobody is left to say it to, and nobody listens any more.
      expect(await peer.rest()).toEqual([]);
      expect(calls).toEqual(['let go']);
    });

    it('is told to end with a connection on offer: it stays here, and no other is offered', async () => {
      const { peer, predecessor } = await handedOver(phase);
      const fates: string[] = [];
      const candidates = [movable(fates)];
      expect(predecessor.canMove).toBe(true);
      const offering = predecessor.moving.start(
        () => candidates,
        () => {},
      );
      offering.sweep();
      expect(await peer.next()).toMatchObject({ name: 'OFFER', fdCount: 1 });
      const heard = received('predecessor', 'ABORT');
      await peer.send('ABORT', { code: 'ERR_HANDOVER_CLOSED', reason: 'SIGTERM' });
      await heard;
      expect(fates).toEqual(['resumed']);
      expect(predecessor.canMove).toBe(false);
      candidates.push(movable(fates));
      offering.sweep();
      await predecessor.retire();
      expect(await peer.rest()).toEqual([]);
      expect(offering.moved).toBe(0);
    });

    it('G4: dies with its HELD on the way: what it held is served here', async () => {
      const { peer, predecessor, calls, end } = await handedOver(phase);
      const fates: string[] = [];
      const candidates = [movable(fates)];
      const offering = predecessor.moving.start(
        () => candidates,
        () => {},
      );
      offering.sweep();
      expect(await next(peer)).toMatchObject({ name: 'OFFER', fdCount: 1 });
      // The kernel says that it has died before its last words are read.
      end();
      const heard = received('predecessor', 'HELD');
      await peer.send('HELD', { batch: 1, verdicts: [VERDICT.held] });
      await heard;
      expect(fates).toEqual([]);
      peer.close();
      const reason = await predecessor.failed.catch((error) => error);
      expect(await predecessor.giveUp(reason)).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase });
      expect([fates, offering.moved]).toEqual([['resumed'], 0]);
      expect(calls).toEqual(['take back', 'stop what it left']);
    });

    it('is told to end in the moment in which it is left alone: no failure either', async () => {
      const { peer, predecessor, calls } = await handedOver(phase);
      void peer.send('ABORT', { code: 'ERR_HANDOVER_CLOSED', reason: 'SIGTERM' });
      peer.close();
      await predecessor.retire();
      expect(predecessor.phase).toBe('RETIRE');
      expect(calls).toEqual(['let go']);
    });
  });

  describe('the last word', () => {
    it('G5: is said once the successor has shown a sign of life, and not before', async () => {
      const { peer, predecessor } = await handedOver('DRAIN');
      const retired = predecessor.retire();
      let frame: { readonly name: string } | undefined;
      const read = next(peer).then((said) => {
        frame = said;
      });
      for (let turn = 0; turn < 50; turn++) await nextTurn();
      expect([frame, predecessor.phase]).toEqual([undefined, 'DRAIN']);
      await frames.HEARTBEAT?.(peer);
      await retired;
      await read;
      expect([frame, predecessor.phase]).toMatchObject([{ name: 'RETIRE' }, 'RETIRE']);
    });

    it('G5: is not said to one that has hung since: it is killed, and everything is taken back', async () => {
      const { peer, predecessor, calls } = await handedOver('DRAIN');
      const reason = await predecessor.retire().catch((error) => error);
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT' });
      await predecessor.giveUp(reason);
      expect(calls).toEqual(['kill it', 'take back', 'stop what it left']);
      expect(await peer.rest()).toEqual(['ABORT']);
    });

    it('G5: is not said where the sign of life comes with the word that it gives up', async () => {
      const { peer, predecessor, calls } = await handedOver('DRAIN');
      const retired = predecessor.retire();
      const abort = encodeFrame('ABORT', { code: 'ERR_HANDOVER_PID_FILE', reason: 'disk full' }, 0);
      await peer.write(Buffer.concat([encodeFrame('HEARTBEAT', { healthy: true }, 0), abort]));
      const reason = await retired.catch((error) => error);
      expect(reason).toMatchObject({ code: 'ERR_HANDOVER_PID_FILE' });
      await predecessor.giveUp(reason);
      expect(calls).toEqual(['take back', 'stop it']);
      expect(await peer.rest()).not.toContain('RETIRE');
    });
  });

  describe('PROBATION', () => {
    /** As far as READY. */
    async function onProbation({ capabilities, ...options }: Beginning & { capabilities?: readonly string[] } = {}) {
      const begun = begin({ probation: 60_000, stall: 300, ...options });
      await begun.peer.send('HELLO', hello(4711, 0, capabilities));
      for (const name of ['CLAIMED', 'READY']) await frames[name]?.(begun.peer);
      return begun;
    }

    /** This process never stopped accepting; whoever asked learns that it was the probation. */
    const fails = async ({ peer, steps, calls }: ReturnType<typeof begin>, expected: object): Promise<void> => {
      await expect(steps).rejects.toMatchObject({ name: 'HandoverError', phase: 'PROBATION', stillServing: true });
      await expect(steps).rejects.toMatchObject(expected);
      expect(calls.slice(0, -1)).toEqual(['list with stderr']);
      expect(calls.at(-1)).toMatch(/^stop/);
      expect(peer.channel.isClosed).toBe(true);
    };

    it('a successor that beats passes', async () => {
      const { peer, steps, calls } = await onProbation({ probation: 50 });
      const beating = setInterval(() => void frames.HEARTBEAT?.(peer), 10);
      for (const name of ['HELLO', 'MANIFEST', 'COMMIT']) expect(await peer.next()).toMatchObject({ name });
      clearInterval(beating);
      await peer.send('COMMITTED', {});
      const { phases } = await steps;
      expect(phases.map(({ name }) => name)).toEqual(['PREPARE', 'PROBATION', 'COMMIT']);
      expect(calls).toEqual(['list with stderr', 'step down']);
    });

    it('G9: one of a version that sends no heartbeats is not judged by them, and none is waited for', async () => {
      const { peer, steps } = await onProbation({ probation: 400, stall: 200, capabilities: [] });
      for (const name of ['HELLO', 'MANIFEST', 'COMMIT']) expect(await peer.next()).toMatchObject({ name });
      await peer.send('COMMITTED', {});
      expect(await steps).toMatchObject({ pid: 4711 });
    });

    it('G5: one that is silent fails', async () => {
      const begun = await onProbation();
      await fails(begun, {
        code: 'ERR_HANDOVER_PROBATION_FAILED',
        message: expect.stringContaining('the successor sent no heartbeat for 300 ms'),
        exitSignal: 'SIGTERM',
      });
    });

    it('G5: one whose first heartbeat comes with READY and says that it is ill fails', async () => {
      const begun = begin({ probation: 60_000 });
      for (const name of ['HELLO', 'CLAIMED']) await frames[name]?.(begun.peer);
      const ready = encodeFrame('READY', {}, 0);
      await begun.peer.write(Buffer.concat([ready, encodeFrame('HEARTBEAT', { healthy: false }, 0)]));
      await fails(begun, {
        code: 'ERR_HANDOVER_PROBATION_FAILED',
        message: expect.stringContaining('the health check of the successor failed'),
      });
    });

    it('G5, G8: one that dies fails: how it ended and what died with it is in the error', async () => {
      const begun = await onProbation();
      await frames.HEARTBEAT?.(begun.peer);
      begun.peer.close();
      begun.end();
      await fails(begun, {
        code: 'ERR_HANDOVER_PROBATION_FAILED',
        message: expect.stringMatching(
          /^the successor failed its probation: the successor ended \(exit code 7\); 5 conn/,
        ),
        cause: expect.objectContaining({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' }),
        exitCode: 7,
        connectionsLost: 5,
        stderr: 'its last line',
      });
      expect(begun.calls.at(-1)).toBe('stop what it left');
    });

    it.each([
      ['READY again', frames.READY],
      ['COMMITTED before COMMIT', frames.COMMITTED],
    ])('G5: one that breaks the protocol fails: %s', async (_, send) => {
      const begun = await onProbation();
      await send?.(begun.peer);
      await fails(begun, {
        code: 'ERR_HANDOVER_PROBATION_FAILED',
        cause: expect.objectContaining({ code: 'ERR_HANDOVER_PROTOCOL' }),
      });
    });

    it.each([
      ['ERR_HANDOVER_INTERNAL', 'ERR_HANDOVER_PROBATION_FAILED'],
      // Told to end by somebody: that says nothing of the release.
      ['ERR_HANDOVER_CLOSED', 'ERR_HANDOVER_CLOSED'],
    ])('G8: one that gives up with %s: %s', async (code, expected) => {
      const begun = await onProbation();
      await begun.peer.send('ABORT', { code, reason: 'as it says' });
      await fails(begun, { code: expected, message: expect.stringContaining('as it says') });
    });
  });

  it('G7: more descriptors than one frame or one message carries all arrive', async () => {
    const fd = file();
    const count = 2_300;
    const list = {
      entries: Array.from({ length: count }, (_, i) => entry(`d${i}`)),
      fds: new Int32Array(count).fill(fd),
    };
    const { peer, steps, end } = begin({ list });
    await peer.next();
    await greet(peer);
    const names: string[] = [];
    let more = true;
    let fdCount = 0;
    while (more) {
      const frame = await peer.next();
      const manifest = frame.payload as Manifest;
      names.push(...manifest.entries.map(({ name }) => name));
      ({ more } = manifest);
      fdCount += frame.fdCount;
    }
    expect(names).toEqual(list.entries.map(({ name }) => name));
    expect(fdCount).toBe(count);
    peer.close();
    end();
    await expect(steps).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
  });
});

describe('successor', () => {
  function begin({ health = async () => true, takeCharge = async () => {} } = {}) {
    const peer = new Peer('successor');
    const calls: string[] = [];
    const fds: number[] = [];
    onTestFinished(() => closeFds(Int32Array.from(fds)));
    const joined = IncomingHandover.join(peer.channel, hello(2, 0), {
      inheritance: {
        inherit({ entries, standby }, received) {
          calls.push(`inherit ${entries.map(({ name }) => name).join(' ')}${standby ? ' as a standby' : ''}`);
          fds.push(...received);
        },
        adoptStderr: () => void calls.push('adopt stderr'),
        readHelpersStderr: () => {},
      },
      succession: {
        mayTakeCharge: () => true,
        mayInherit: async () => true,
        takeCharge() {
          calls.push('take charge');
          return takeCharge();
        },
      },
      ends: {
        becomeAlone: () => void calls.push('become alone'),
        giveUp: ({ code }) => void calls.push(`give up ${code}`),
      },
      vitals: { connectionCount: () => 3, health },
      adopterOf: () => undefined,
    });
    joined.catch(() => {});
    return { peer, joined, calls, fds };
  }

  const greet = (peer: Peer) => peer.send('HELLO', hello(1, 4));
  const offer = (peer: Peer, ...names: string[]) =>
    peer.send('MANIFEST', { entries: names.map(entry), more: false }, names.map(file));
  const claims = { claimed: ['web'], unclaimed: [] };
  const offered: OfferedConnection = {
    listener: 'web',
    protocol: 'http1',
    head: new Uint8Array(0),
    state: new Uint8Array(0),
  };
  const commit = (peer: Peer) => peer.send('COMMIT', { entries: [], more: false });

  /** The next frame but heartbeats, which come when they come. */
  const next = async (peer: Peer) => {
    for (;;) {
      const frame = await peer.next();
      if (frame.name !== 'HEARTBEAT') return frame;
    }
  };

  /** As far as READY. */
  async function ready(options: Parameters<typeof begin>[0] = {}) {
    const begun = begin(options);
    await greet(begun.peer);
    await offer(begun.peer, 'web');
    const successor = await begun.joined;
    await successor.announceReady(claims);
    for (const name of ['HELLO', 'CLAIMED', 'READY']) expect(await begun.peer.next()).toMatchObject({ name });
    expect(begun.calls.splice(0)).toEqual(['inherit web']);
    return { ...begun, successor };
  }

  it('the protocol in order', async () => {
    const { peer, joined, calls, fds } = begin();
    expect(await peer.next()).toMatchObject({ name: 'HELLO', payload: { pid: 2 } });
    await greet(peer);
    await peer.send('MANIFEST', { entries: [entry('web')], more: true }, [file()]);
    await offer(peer, 'raw');
    const successor = await joined;
    expect(successor.generation).toBe(5);
    expect(calls).toEqual(['inherit web', 'inherit raw']);
    await successor.announceReady(claims);
    expect(await peer.next()).toEqual({ name: 'CLAIMED', payload: claims, fdCount: 0 });
    expect(await peer.next()).toMatchObject({ name: 'READY' });
    expect(await peer.next()).toMatchObject({ name: 'HEARTBEAT', payload: { healthy: true, connections: 3 } });
    // Not every predecessor hears them; they go on.
    expect(await peer.next()).toMatchObject({ name: 'HEARTBEAT' });
    await peer.send('COMMIT', { entries: [entry('late')], more: true }, [file()]);
    await peer.send('COMMIT', { entries: [], more: false });
    expect(await next(peer)).toMatchObject({ name: 'COMMITTED' });
    expect(calls.slice(2)).toEqual(['inherit late', 'inherit ', 'take charge']);
    expect(successor.isAlone).toBe(false);
    await peer.send('RETIRE', {});
    expect((await peer.rest()).filter((name) => name !== 'HEARTBEAT')).toEqual([]);
    await successor.alone;
    expect(successor.isAlone).toBe(true);
    expect(calls.slice(5)).toEqual(['adopt stderr', 'become alone']);
    expect(fds).toHaveLength(3);
  });

  it('G5: the predecessor dies after MANIFEST: this process serves as soon as it is ready', async () => {
    const { peer, joined, calls } = begin();
    await greet(peer);
    await offer(peer, 'web');
    const successor = await joined;
    peer.close();
    await until(() => calls.includes('adopt stderr'), { what: 'the end to be noticed' });
    expect(calls).not.toContain('take charge');
    await successor.announceReady(claims);
    expect(calls).toEqual(['inherit web', 'adopt stderr', 'become alone', 'take charge']);
  });

  it.each([
    ['after READY', false],
    ['after COMMITTED', true],
  ])('G5: the predecessor dies %s: this process is in charge, once', async (_, commits) => {
    const { peer, successor, calls } = await ready();
    if (commits) {
      await commit(peer);
      expect(await next(peer)).toMatchObject({ name: 'COMMITTED' });
    }
    peer.close();
    await successor.alone;
    expect(calls.filter((call) => call === 'take charge')).toHaveLength(1);
    expect(calls.filter((call) => call === 'become alone')).toHaveLength(1);
    expect(calls.some((call) => call.startsWith('give up'))).toBe(false);
    expect(successor.draining).toEqual([]);
  });

  it.each([
    ['at once', () => Promise.resolve()],
    ['after HELLO', greet],
    ['in the middle of HELLO', (peer: Peer) => peer.part('HELLO', hello(1), 20)],
    [
      'in the middle of MANIFEST, with descriptors on the way',
      async (peer: Peer) => {
        await greet(peer);
        await peer.part('MANIFEST', { entries: [entry('web'), entry('raw')], more: false }, 12, [file(), file()]);
      },
    ],
  ])('G5, G7: ERR_HANDOVER_PEER_LOST: the predecessor dies %s', async (_, act) => {
    const { peer, joined, calls } = begin();
    await act(peer);
    peer.close();
    await expect(joined).rejects.toMatchObject({ code: 'ERR_HANDOVER_PEER_LOST', stillServing: false });
    expect(calls.filter((call) => call !== 'give up ERR_HANDOVER_PEER_LOST')).toEqual([]);
  });

  it.each([
    ['MANIFEST', 2, 1],
    ['MANIFEST', 1, 3],
    ['COMMIT', 1, 0],
    ['COMMIT', 1, 2],
  ] as const)('G7: a %s of %i entries with %i descriptors: a fault of the predecessor, and what came is closed', async (name, entries, count) => {
    const { peer, joined, calls, fds } = begin();
    await greet(peer);
    if (name === 'COMMIT') {
      await offer(peer, 'web');
      await (await joined).announceReady(claims);
    }
    const given = Array.from({ length: count }, file);
    const before = open();
    const list = Array.from({ length: entries }, (_, i) => entry(`${i}`));
    await peer.send(name, { entries: list, more: false }, given);
    const ended = name === 'COMMIT' ? (await joined).ended : joined;
    await expect(ended).rejects.toMatchObject({
      code: 'ERR_HANDOVER_PROTOCOL',
      message: `${entries} entries came with ${count} descriptors`,
    });
    expect(calls.filter((call) => call !== 'inherit web')).toEqual(['give up ERR_HANDOVER_PROTOCOL']);
    // All but this side's end of the channel.
    await until(() => open() === before - 1, { what: 'what came to be closed' });
    expect(fds).toHaveLength(name === 'COMMIT' ? 1 : 0);
  });

  it('G5: the predecessor gives up while the app loads: ready() learns why', async () => {
    const { peer, joined, calls } = begin();
    await greet(peer);
    await offer(peer, 'web');
    const successor = await joined;
    await peer.send('ABORT', { reason: 'changed my mind' });
    await expect(successor.ended).rejects.toMatchObject({
      code: 'ERR_HANDOVER_ABORTED',
      message: expect.stringContaining('changed my mind'),
    });
    await expect(successor.announceReady(claims)).rejects.toMatchObject({ code: 'ERR_HANDOVER_ABORTED' });
    expect(calls).toEqual(['inherit web', 'give up ERR_HANDOVER_ABORTED']);
  });

  it.each([
    ['a code of ours', 'ERR_HANDOVER_PROBATION_FAILED', 'ERR_HANDOVER_PROBATION_FAILED'],
    ['a code of a later version', 'ERR_HANDOVER_UNHEARD_OF', 'ERR_HANDOVER_ABORTED'],
  ])('G8, G9: the predecessor gives up with a code: %s', async (_, code, expected) => {
    const { peer, successor, calls } = await ready();
    await peer.send('ABORT', { code, reason: 'as it says' });
    await expect(successor.ended).rejects.toMatchObject({ code: expected, stillServing: false });
    expect(calls).toEqual([`give up ${expected}`]);
    // It answers in kind, and is gone.
    expect((await peer.rest()).filter((name) => name !== 'HEARTBEAT')).toEqual(['ABORT']);
  });

  it('G5: the predecessor takes everything back: this process was in charge, and is not any more', async () => {
    const { peer, successor, calls } = await ready();
    await commit(peer);
    expect(await next(peer)).toMatchObject({ name: 'COMMITTED' });
    await peer.send('ABORT', { code: 'ERR_HANDOVER_TIMEOUT', reason: 'no heartbeat' });
    await expect(successor.ended).rejects.toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT' });
    expect(calls).toEqual(['inherit ', 'take charge', 'give up ERR_HANDOVER_TIMEOUT']);
    expect(successor.isAlone).toBe(false);
  });

  it('G5, G8: what keeps it from taking charge is told the predecessor by its code', async () => {
    const takeCharge = () =>
      Promise.reject(new HandoverError('ERR_HANDOVER_PID_FILE', 'disk full', { stillServing: true }));
    const { peer, calls } = await ready({ takeCharge });
    await commit(peer);
    const payload = { code: 'ERR_HANDOVER_PID_FILE', reason: 'disk full' };
    expect(await next(peer)).toMatchObject({ name: 'ABORT', payload });
    expect(calls).toEqual(['inherit ', 'take charge', 'give up ERR_HANDOVER_PID_FILE']);
  });

  it('a standby: its host is told, and it is put in charge like any other', async () => {
    const { peer, joined, calls } = begin();
    await greet(peer);
    await peer.send('MANIFEST', { entries: [entry('web')], more: false, standby: true }, [file()]);
    await (await joined).announceReady(claims);
    await commit(peer);
    for (const name of ['HELLO', 'CLAIMED', 'READY', 'COMMITTED']) expect(await next(peer)).toMatchObject({ name });
    expect(calls).toEqual(['inherit web as a standby', 'inherit ', 'take charge']);
  });

  it('G5: an app that is ill says so in its heartbeat', async () => {
    const { peer } = await ready({ health: async () => false });
    expect(await peer.next()).toMatchObject({ name: 'HEARTBEAT', payload: { healthy: false, connections: 3 } });
  });

  it('one heartbeat at a time: a health check that never ends is silence', async () => {
    let asked = 0;
    const { peer } = await ready({
      health: () => {
        asked++;
        return new Promise(() => {});
      },
    });
    await commit(peer);
    expect(await peer.next()).toMatchObject({ name: 'COMMITTED' });
    await peer.send('RETIRE', {});
    expect(await peer.rest()).toEqual([]);
    expect(asked).toBe(1);
  });

  it('knows who still drains: the predecessor from COMMIT on, and those before it as it reports', async () => {
    const { peer, successor } = await ready();
    expect(successor.draining).toEqual([]);
    await commit(peer);
    expect(await next(peer)).toMatchObject({ name: 'COMMITTED' });
    const age = expect.any(Number);
    expect(successor.draining).toEqual([{ generation: 4, pid: 1, startTime: undefined, age, connections: 0 }]);
    const older = { generation: 3, pid: 12, startTime: '34', age: 56, connections: 7 };
    const heard = received('successor', 'HEARTBEAT');
    await peer.send('HEARTBEAT', { connections: 9, draining: [older] });
    await heard;
    expect(successor.draining).toEqual([
      { generation: 4, pid: 1, startTime: undefined, age, connections: 9 },
      { ...older, startTime: '34' },
    ]);
    await peer.send('RETIRE', {});
    await successor.alone;
    expect(successor.draining).toEqual([]);
  });

  it('G7: descriptors on a frame that may have none are closed, and what it says counts', async () => {
    const { peer, joined, fds } = begin();
    const before = open();
    const given: number[] = [];
    const two = (): number[] => {
      const both = [file(), file()];
      given.push(...both);
      return both;
    };
    const closed = (): void => expect(open()).toBe(before + given.length + fds.length);
    await peer.send('HELLO', hello(1, 4), two());
    const manifest = file();
    given.push(manifest);
    await peer.send('MANIFEST', { entries: [entry('web')], more: false }, [manifest]);
    const successor = await joined;
    expect(successor.generation).toBe(5);
    closed();
    await successor.announceReady(claims);
    await commit(peer);
    while ((await next(peer)).name !== 'COMMITTED');
    let heard = received('successor', 'HEARTBEAT');
    await peer.send('HEARTBEAT', { connections: 9 }, two());
    await heard;
    expect(successor.draining).toMatchObject([{ connections: 9 }]);
    closed();
    heard = received('successor', 'ABORT');
    await peer.send('ABORT', { batch: 1 }, two());
    await heard;
    closed();
    await peer.send('RETIRE', {}, two());
    await successor.alone;
    // The channel has gone, too.
    await until(() => open() === before + given.length + fds.length - 1, {
      what: 'what came with RETIRE to be closed',
    });
  });

  it('G4, G7: what is offered to a process that leaves is closed: the predecessor takes it back', async () => {
    const { peer, successor, fds } = await ready();
    await commit(peer);
    expect(await next(peer)).toMatchObject({ name: 'COMMITTED' });
    // Answered, and without a GO yet: this process waits for the predecessor's word.
    await peer.send('OFFER', { batch: 1, connections: [offered] }, [file()]);
    expect(await next(peer)).toMatchObject({ name: 'HELD' });
    const both = [file(), file()];
    const before = open();
    const leaving = successor.leave();
    const heard = received('successor', 'OFFER');
    await peer.send('OFFER', { batch: 2, connections: [offered, offered] }, both);
    await heard;
    expect([open(), fds.length]).toEqual([before, 1]);
    await peer.send('ABORT', { batch: 1 });
    await leaving;
    expect((await peer.rest()).filter((name) => name !== 'HEARTBEAT')).toEqual(['ABORT']);
  });

  it('the app leaves before it was in charge: the predecessor is told', async () => {
    const { peer, joined, calls } = begin();
    await greet(peer);
    await offer(peer, 'web');
    (await joined).leave();
    expect(await peer.next()).toMatchObject({ name: 'HELLO' });
    const payload = { code: 'ERR_HANDOVER_CLOSED', reason: 'the successor is shutting down' };
    expect(await peer.next()).toMatchObject({ name: 'ABORT', payload });
    expect(await peer.rest()).toEqual([]);
    // It knows.
    expect(calls).toEqual(['inherit web']);
  });

  it('the app leaves while the predecessor drains: it is told, by the same code; afterwards nobody is', async () => {
    const { peer, successor } = await ready();
    await commit(peer);
    expect(await next(peer)).toMatchObject({ name: 'COMMITTED' });
    successor.leave();
    expect(await next(peer)).toMatchObject({ name: 'ABORT', payload: { code: 'ERR_HANDOVER_CLOSED' } });
    successor.leave();
    expect(await peer.rest()).toEqual([]);
  });
});
