// Each side against a peer that plays the other one over a real socketpair, with real descriptors: the protocol in
// order, out of order, and broken. Nothing is leaked, and the peer is told why.
import { openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Hello, Manifest, ManifestEntry } from '../../lib/channel/wire.js';
import type { HandoverError } from '../../lib/errors.js';
import { closeFd, closeFds } from '../../lib/fd/index.js';
import type { DescriptorList } from '../../lib/handover/manifest.js';
import { Predecessor } from '../../lib/handover/predecessor.js';
import { Successor } from '../../lib/handover/successor.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { Peer } from './peer.js';

expectNoLeaks();

const hello = (pid: number, generation = 1): Hello => ({
  protocol: { min: 1, max: 1 },
  generation,
  pid,
  version: '0.1.0',
  capabilities: [],
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

const open = (): number => openDescriptors().size;

describe('predecessor', () => {
  function begin(list: DescriptorList = { entries: [], fds: new Int32Array(0) }) {
    const peer = new Peer('predecessor');
    const calls: string[] = [];
    let end = (_: { code: number; signal: null }): void => {};
    const exited = new Promise<{ code: number; signal: null }>((resolve) => {
      end = resolve;
    });
    const predecessor = new Predecessor(
      peer.channel,
      {
        hello: hello(1),
        list: () => list,
        stopAccepting: () => calls.push('stop accepting'),
        resumeAccepting: async () => void calls.push('resume accepting'),
      },
      {
        pid: 4711,
        exited,
        stderrTail: async () => 'its last line',
        stop: async () => {
          calls.push('stop the process');
          end({ code: 0, signal: null });
          return exited;
        },
      },
    );
    const steps = (async () => {
      try {
        await predecessor.prepare(2_000);
        return await predecessor.commit();
      } catch (error) {
        throw await predecessor.giveUp(error);
      }
    })();
    steps.catch(() => {});
    return { peer, predecessor, steps, calls, end: () => end({ code: 7, signal: null }) };
  }

  const greet = (peer: Peer) => peer.send('HELLO', hello(4711, 0));
  const claims = { claimed: ['web'], unclaimed: ['old'] };

  it('the protocol in order', async () => {
    const fds = Int32Array.of(file(), file());
    const { peer, predecessor, steps, calls } = begin({ entries: [entry('web'), entry('old')], fds });
    expect(await peer.next()).toEqual({ name: 'HELLO', payload: hello(1), fdCount: 0 });
    await greet(peer);
    const manifest = { entries: [entry('web'), entry('old')], more: false };
    expect(await peer.next()).toEqual({ name: 'MANIFEST', payload: manifest, fdCount: 2 });
    await peer.send('HEARTBEAT', { healthy: true });
    await peer.write(UNKNOWN_OPTIONAL);
    await peer.send('CLAIMED', claims);
    await peer.send('READY', {});
    // What is in the MANIFEST does not come again.
    expect(await peer.next()).toEqual({ name: 'COMMIT', payload: { entries: [], more: false }, fdCount: 0 });
    expect(calls).toEqual(['stop accepting']);
    await peer.send('COMMITTED', {});
    expect(await steps).toMatchObject({ generation: 2, pid: 4711, ...claims });
    await predecessor.retire();
    expect(await peer.rest()).toEqual(['RETIRE']);
    expect(calls).toEqual(['stop accepting']);
  });

  /** Gives up with this code; the peer is told, everything is taken back, nothing stays open. */
  async function givesUp(
    { peer, steps, calls }: ReturnType<typeof begin>,
    code: string,
    message: RegExp,
    before: number,
    resumes = false,
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
    expect(calls.includes('resume accepting')).toBe(resumes);
    expect(calls).toContain('stop the process');
    peer.close();
    await until(() => open() <= before, { what: 'what came in to be closed' });
    return error;
  }

  const frames: Record<string, (peer: Peer) => Promise<void>> = {
    HELLO: greet,
    CLAIMED: (peer) => peer.send('CLAIMED', claims),
    READY: (peer) => peer.send('READY', {}),
    COMMITTED: (peer) => peer.send('COMMITTED', {}),
  };

  it.each([
    ['READY', ['READY'], /READY while starting/],
    ['CLAIMED', ['CLAIMED'], /CLAIMED while starting/],
    ['COMMITTED', ['COMMITTED'], /COMMITTED while starting/],
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
      (peer: Peer) => peer.send('HELLO', hello(2, 0), [file(), file()]),
      /sent descriptors with HELLO/,
    ],
    [
      'descriptors of no frame',
      (peer: Peer) =>
        peer
          .write(Buffer.from([0]), Array.from({ length: 3 }, file))
          .then(() => peer.write(Buffer.from([0, 0, 0, 0, 1, 0, 0]))),
      /./,
    ],
  ])('G7: %s are closed', async (_, act, message) => {
    const given = 8;
    const before = open() + given;
    const begun = begin();
    await act(begun.peer);
    await givesUp(begun, 'ERR_HANDOVER_PROTOCOL', message, before);
  });

  it('G9: no common version', async () => {
    const before = open();
    const begun = begin();
    await begun.peer.send('HELLO', { ...hello(2, 0), protocol: { min: 2, max: 3 }, version: '9.0.0' });
    await givesUp(begun, 'ERR_HANDOVER_VERSION', /this process speaks 1, the other \(version 9\.0\.0\) 2 to 3/, before);
  });

  it('G8: the successor gives up and says why', async () => {
    const before = open();
    const begun = begin();
    await greet(begun.peer);
    await begun.peer.send('ABORT', { reason: 'no database' });
    await givesUp(begun, 'ERR_HANDOVER_ABORTED', /no database/, before);
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
    // It has ended by itself.
    expect(calls).toEqual([]);
  });

  it('G5: it dies between COMMIT and COMMITTED: this process accepts again', async () => {
    const { peer, steps, calls, end } = begin();
    for (const name of ['HELLO', 'CLAIMED', 'READY']) await frames[name]?.(peer);
    expect(await peer.next()).toMatchObject({ name: 'HELLO' });
    expect(await peer.next()).toMatchObject({ name: 'MANIFEST' });
    expect(await peer.next()).toMatchObject({ name: 'COMMIT' });
    peer.close();
    end();
    await expect(steps).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'COMMIT' });
    expect(calls).toEqual(['stop accepting', 'resume accepting']);
  });

  it('G5: it dies while this process drains', async () => {
    const { peer, predecessor, steps, end } = begin();
    for (const name of ['HELLO', 'CLAIMED', 'READY']) await frames[name]?.(peer);
    for (let i = 0; i < 3; i++) await peer.next();
    await peer.send('COMMITTED', {});
    await steps;
    peer.close();
    end();
    await expect(predecessor.failed).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'DRAIN' });
    await expect(predecessor.retire()).rejects.toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
  });

  it('G7: more descriptors than one frame or one message carries all arrive', async () => {
    const fd = file();
    const count = 2_300;
    const list = {
      entries: Array.from({ length: count }, (_, i) => entry(`d${i}`)),
      fds: new Int32Array(count).fill(fd),
    };
    const { peer, steps, end } = begin(list);
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
  function begin() {
    const peer = new Peer('successor');
    const calls: string[] = [];
    const fds: number[] = [];
    onTestFinished(() => closeFds(Int32Array.from(fds)));
    const joined = Successor.join(peer.channel, hello(2, 0), {
      inherit(manifest, received) {
        calls.push(`inherit ${manifest.entries.map(({ name }) => name).join(' ')}`);
        fds.push(...received);
      },
      adoptStderr: () => void calls.push('adopt stderr'),
      takeCharge: () => void calls.push('take charge'),
      giveUp: ({ code }) => void calls.push(`give up ${code}`),
    });
    joined.catch(() => {});
    return { peer, joined, calls, fds };
  }

  const greet = (peer: Peer) => peer.send('HELLO', hello(1, 4));
  const offer = (peer: Peer, ...names: string[]) =>
    peer.send('MANIFEST', { entries: names.map(entry), more: false }, names.map(file));
  const claims = { claimed: ['web'], unclaimed: [] };

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
    await peer.send('COMMIT', { entries: [entry('late')], more: true }, [file()]);
    await peer.send('COMMIT', { entries: [], more: false });
    expect(await peer.next()).toMatchObject({ name: 'COMMITTED' });
    expect(calls.slice(2)).toEqual(['inherit late', 'inherit ', 'take charge']);
    await peer.send('RETIRE', {});
    expect(await peer.rest()).toEqual([]);
    expect(calls.slice(5)).toEqual(['adopt stderr']);
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
    expect(calls).toEqual(['inherit web', 'adopt stderr', 'take charge']);
  });

  it.each([
    ['after READY', false],
    ['after COMMITTED', true],
  ])('G5: the predecessor dies %s: this process is in charge, once', async (_, commits) => {
    const { peer, joined, calls } = begin();
    await greet(peer);
    await offer(peer, 'web');
    await (await joined).announceReady(claims);
    if (commits) {
      await peer.send('COMMIT', { entries: [], more: false });
      for (const name of ['HELLO', 'CLAIMED', 'READY', 'COMMITTED']) expect(await peer.next()).toMatchObject({ name });
    }
    peer.close();
    await until(() => calls.includes('adopt stderr'), { what: 'the end to be noticed' });
    expect(calls.filter((call) => call === 'take charge')).toHaveLength(1);
    expect(calls.some((call) => call.startsWith('give up'))).toBe(false);
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

  it('the app leaves before it was in charge: the predecessor is told', async () => {
    const { peer, joined } = begin();
    await greet(peer);
    await offer(peer, 'web');
    (await joined).leave('shutting down');
    expect(await peer.next()).toMatchObject({ name: 'HELLO' });
    expect(await peer.next()).toMatchObject({ name: 'ABORT', payload: { reason: 'shutting down' } });
    expect(await peer.rest()).toEqual([]);
  });
});
