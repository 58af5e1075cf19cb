// G5, G7, G8: the same matrix in one process: each side against a peer that is played over a real socketpair, and that
// fails at every frame in every way a peer can. (All pairs of state and event: test/handover/machine.test.ts.)
import { openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { encodeFrame, type Hello, type ManifestEntry } from '../../lib/channel/wire.js';
import type { HandoverError } from '../../lib/errors.js';
import { closeFd, closeFds } from '../../lib/fd/index.js';
import { Deferred } from '../../lib/handover/deferred.js';
import type { Exit } from '../../lib/handover/env.js';
import { Predecessor } from '../../lib/handover/predecessor.js';
import { Successor } from '../../lib/handover/successor.js';
import { Peer } from '../handover/peer.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';

expectNoLeaks();

const hello: Hello = {
  protocol: { min: 1, max: 1 },
  generation: 1,
  pid: 4711,
  version: '0.1.0',
  capabilities: ['heartbeat'],
};
const entries: readonly ManifestEntry[] = [{ name: 'web', kind: 'descriptor', address: '' }];

/** A descriptor the test owns. */
function file(): number {
  const fd = openSync('/dev/null', 'r');
  onTestFinished(() => closeFd(fd));
  return fd;
}

const open = (): number => openDescriptors().size;

/** What a peer does instead of its next frame. */
interface Fault {
  readonly name: string;
  act(peer: Peer): Promise<void>;
  readonly isEnd: boolean;
}

const beat = encodeFrame('HEARTBEAT', { healthy: true }, 0);
/** The same frame, and so many descriptors announced. */
const announcing = (count: number): Buffer => encodeFrame('HEARTBEAT', { healthy: true }, count);

const FAULTS: readonly Fault[] = [
  { name: 'closes the channel', act: async (peer) => peer.close(), isEnd: true },
  {
    name: 'dies in the middle of a frame',
    act: async (peer) => {
      await peer.write(beat.subarray(0, 11));
      peer.close();
    },
    isEnd: true,
  },
  { name: 'sends garbage', act: (peer) => peer.write(Buffer.alloc(64, 0xff)), isEnd: false },
  {
    name: 'goes on after half a frame',
    act: async (peer) => {
      await peer.write(beat.subarray(0, beat.length - 4));
      await peer.write(beat);
    },
    isEnd: false,
  },
  {
    name: 'sends a frame of an unknown type',
    act: (peer) => peer.write(Buffer.from([0, 0, 0, 0, 0x7f, 0xff, 0, 0])),
    isEnd: false,
  },
  { name: 'sends more descriptors than announced', act: (peer) => peer.write(beat, [file(), file()]), isEnd: false },
  { name: 'sends fewer descriptors than announced', act: (peer) => peer.write(announcing(3), [file()]), isEnd: false },
];

describe('a predecessor whose successor fails', () => {
  /** The frames of the successor in their order, and what the predecessor answers. */
  const FRAMES = [
    { send: (peer: Peer) => peer.send('HELLO', { ...hello, generation: 0 }), answer: 'MANIFEST' },
    { send: (peer: Peer) => peer.send('CLAIMED', { claimed: ['web'], unclaimed: [] }), answer: undefined },
    { send: (peer: Peer) => peer.send('READY', {}), answer: 'COMMIT' },
    { send: (peer: Peer) => peer.send('HEARTBEAT', { healthy: true }), answer: undefined },
    { send: (peer: Peer) => peer.send('COMMITTED', {}), answer: undefined },
  ] as const;
  const NAMES = ['HELLO', 'CLAIMED', 'READY', 'HEARTBEAT', 'COMMITTED', 'all'];

  function begin() {
    const peer = new Peer('predecessor');
    const calls: string[] = [];
    const exited = new Deferred<Exit>();
    const handed = file();
    const list = { entries, fds: Int32Array.of(handed) };
    const predecessor = new Predecessor(
      peer.channel,
      {
        hello,
        list: () => list,
        async stepDown() {
          calls.push('step down');
          return list;
        },
        takeBack: async () => void calls.push('take back'),
        letGo: () => calls.push('let go'),
      },
      {
        pid: 4711,
        isChild: true,
        wasStarted: true,
        exited: exited.promise,
        stderrTail: async () => '',
        async stop({ grace } = {}) {
          calls.push(grace === 0 ? 'kill' : 'stop');
          exited.resolve({ code: null, signal: grace === 0 ? 'SIGKILL' : 'SIGTERM' });
        },
        release() {},
      },
    );
    const end = (): void => exited.resolve({ code: 7, signal: null });
    const committed = new Deferred<void>();
    const steps = (async () => {
      try {
        await predecessor.prepare({ readyTimeout: 5_000, standby: false });
        await predecessor.commit(10_000);
        committed.resolve();
        throw await predecessor.failed;
      } catch (error) {
        throw await predecessor.giveUp(error);
      }
    })();
    steps.catch(() => {});
    return { peer, steps, committed: committed.promise, calls, end };
  }

  const cells = NAMES.flatMap((name, count) => FAULTS.map((fault) => ({ name, count, fault })));

  it.each(cells)('instead of $name: $fault.name', async ({ count, fault }) => {
    const before = open();
    const { peer, steps, committed, calls, end } = begin();
    // In turn: COMMIT follows READY, and COMMITTED answers it.
    expect(await peer.next()).toMatchObject({ name: 'HELLO' });
    for (const [index, { send, answer }] of FRAMES.slice(0, count).entries()) {
      await send(peer);
      if (answer) expect(await peer.next()).toMatchObject({ name: answer });
      if (index === NAMES.indexOf('COMMITTED')) await committed;
    }
    await fault.act(peer);
    if (fault.isEnd) end();

    const error = (await steps.catch((reason: unknown) => reason)) as HandoverError;
    expect(error).toMatchObject({
      name: 'HandoverError',
      code: fault.isEnd ? 'ERR_HANDOVER_SUCCESSOR_EXITED' : 'ERR_HANDOVER_PROTOCOL',
      phase: count === NAMES.length - 1 ? 'DRAIN' : count > 2 ? 'COMMIT' : 'PREPARE',
      stillServing: true,
      ...(fault.isEnd && { exitCode: 7 }),
    });
    const hasCommitted = count > 2;
    // What may be in charge and lives is killed before anything is taken back.
    const first = hasCommitted ? [...(fault.isEnd ? [] : ['kill']), 'take back'] : [];
    expect(calls).toEqual([...(hasCommitted ? ['step down'] : []), ...first, 'stop']);
    peer.close();
    await until(() => open() <= before + 5, { what: 'what came in to be closed' });
  });
});

describe('a successor whose predecessor fails', () => {
  function begin() {
    const peer = new Peer('successor');
    const calls: string[] = [];
    const joined = Successor.join(peer.channel, hello, {
      belongings: {
        inherit(_, fds) {
          calls.push('inherit');
          closeFds(fds);
        },
        adoptStderr() {},
      },
      takeCharge: async () => void calls.push('take charge'),
      becomeAlone() {},
      giveUp: ({ code }) => calls.push(`give up ${code}`),
      adopterOf: () => undefined,
      connectionCount: 0,
      health: undefined,
    });
    joined.catch(() => {});
    return { peer, joined, calls };
  }

  /** How far it has come when the predecessor fails, and what it is then. */
  const STAGES = [
    { name: 'HELLO', isHeir: false },
    { name: 'MANIFEST', isHeir: false },
    { name: 'COMMIT', isHeir: true },
    { name: 'RETIRE', isHeir: true },
  ] as const;
  const cells = STAGES.flatMap((stage, count) => FAULTS.map((fault) => ({ ...stage, count, fault })));

  it.each(cells)('instead of $name: $fault.name', async ({ count, fault, isHeir }) => {
    const before = open();
    const { peer, joined, calls } = begin();
    if (count > 0) await peer.send('HELLO', hello);
    if (count > 1) {
      await peer.send('MANIFEST', { entries, more: false }, [file()]);
      await (await joined).announceReady({ claimed: ['web'], unclaimed: [] });
    }
    if (count > 2) {
      await peer.send('COMMIT', { entries: [], more: false });
      for (let name = ''; name !== 'COMMITTED'; ) ({ name } = await peer.next());
    }
    await fault.act(peer);

    if (isHeir && (fault.isEnd || count > 2)) {
      // It holds everything: a predecessor that is gone leaves it in charge, once. One that is only broken does, too, once
      // this process is in charge: it may be retiring, and then nobody else would serve.
      await (await joined).alone;
      expect(calls.filter((call) => call === 'take charge')).toHaveLength(1);
      expect(calls.filter((call) => call.startsWith('give up'))).toEqual([]);
    } else {
      const ended = isHeir ? (await joined).ended : joined;
      const code = fault.isEnd ? 'ERR_HANDOVER_PEER_LOST' : 'ERR_HANDOVER_PROTOCOL';
      await expect(ended).rejects.toMatchObject({ name: 'HandoverError', code, stillServing: expect.any(Boolean) });
      expect(calls.at(-1)).toBe(isHeir || !fault.isEnd ? `give up ${code}` : calls.at(-1));
    }
    peer.close();
    await until(() => open() <= before + 3, { what: 'what came in to be closed' });
  });
});
