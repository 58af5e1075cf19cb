// G4, G5, G7, G8: the matrix in one process, the predecessor's side: against a successor that is played over a real
// socketpair, and that fails at every frame in every way a peer can. (All pairs of state and event:
// test/handover/machine.test.ts.)
import { describe, expect, it } from 'vitest';
import type { HandoverError } from '../../lib/errors.js';
import { OutgoingHandover } from '../../lib/handover/outgoing.js';
import type { Exit } from '../../lib/platform/env.js';
import type { SuccessorProcess } from '../../lib/platform/successor-process.js';
import { VERDICT } from '../../lib/protocol/batches.js';
import { Deferred } from '../../lib/protocol/deferred.js';
import type { Movable } from '../../lib/protocols/protocol.js';
import { Peer } from '../handover/peer.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { entries, FAULTS, file, hello, open } from './peer-faults.js';

expectNoLeaks();

describe('a predecessor whose successor fails', () => {
  /** The frames of the successor in their order, and what the predecessor answers. */
  const FRAMES = [
    { send: (peer: Peer) => peer.send('HELLO', { ...hello, generation: 0 }), answer: 'MANIFEST' },
    { send: (peer: Peer) => peer.send('CLAIMED', { claimed: ['web'], unclaimed: [] }), answer: undefined },
    { send: (peer: Peer) => peer.send('READY', {}), answer: 'COMMIT' },
    { send: (peer: Peer) => peer.send('HEARTBEAT', { healthy: true }), answer: undefined },
    { send: (peer: Peer) => peer.send('COMMITTED', {}), answer: 'OFFER' },
    { send: (peer: Peer) => peer.send('HELD', { batch: 1, verdicts: [VERDICT.held, VERDICT.held] }), answer: 'GO' },
  ] as const;
  const NAMES = ['HELLO', 'CLAIMED', 'READY', 'HEARTBEAT', 'COMMITTED', 'HELD', 'all'];
  const PHASES = ['PREPARE', 'PREPARE', 'PREPARE', 'COMMIT', 'COMMIT', 'MIGRATE', 'DRAIN'];

  function begin() {
    const peer = new Peer('predecessor');
    const calls: string[] = [];
    const exited = new Deferred<Exit>();
    const handed = file();
    const list = { entries, fds: Int32Array.of(handed) };
    const successor: SuccessorProcess = {
      pid: 4711,
      isChild: true,
      wasStarted: true,
      hasEnded: () => false,
      exited: exited.promise,
      stderrTail: async () => '',
      async stop({ grace } = {}) {
        calls.push(grace === 0 ? 'kill' : 'stop');
        exited.resolve({ code: null, signal: grace === 0 ? 'SIGKILL' : 'SIGTERM' });
      },
      release() {},
    };
    const predecessor = new OutgoingHandover(
      { channel: peer.channel, process: successor, hello },
      {
        list: () => list,
        async stepDown() {
          calls.push('step down');
          return list;
        },
      },
      {
        mayTakeBack: async () => true,
        takeBack: async () => void calls.push('take back'),
        letGo: () => calls.push('let go'),
      },
    );
    const end = (): void => exited.resolve({ code: 7, signal: null });
    /** Two connections that can move as soon as the successor is in charge. */
    const movables = [1, 2].map((number): Movable => {
      const fd = file();
      return {
        listener: 'web',
        protocol: 'http1',
        identity: {},
        detach: () => ({ fd, head: new Uint8Array(0), state: new Uint8Array(0) }),
        release: () => calls.push(`release ${number}`),
        resume: () => calls.push(`resume ${number}`),
        stay: () => calls.push(`stay ${number}`),
      };
    });
    const settled = new Deferred<void>();
    const steps = (async () => {
      try {
        await predecessor.prepare({ readyTimeout: 5_000, standby: false });
        await predecessor.commit(10_000);
        const offering = predecessor.moving.start(
          () => movables,
          () => {
            predecessor.settle();
            settled.resolve();
          },
        );
        offering.sweepSoon();
        throw await predecessor.failed;
      } catch (error) {
        throw await predecessor.giveUp(error);
      }
    })();
    steps.catch(() => {});
    return { peer, steps, settled: settled.promise, calls, end };
  }

  const cells = NAMES.flatMap((name, count) => FAULTS.map((fault) => ({ name, count, fault })));

  it.each(cells)('instead of $name: $fault.name', async ({ name, count, fault }) => {
    const before = open();
    const { peer, steps, settled, calls, end } = begin();
    // In turn: COMMIT follows READY, and COMMITTED answers it.
    expect(await peer.next()).toMatchObject({ name: 'HELLO' });
    for (const { send, answer } of FRAMES.slice(0, count)) {
      await send(peer);
      if (answer) expect(await peer.next()).toMatchObject({ name: answer });
    }
    const isGiven = count > NAMES.indexOf('HELD');
    if (isGiven) await settled;
    await fault.act(peer);
    if (fault.isEnd) end();

    const error = (await steps.catch((reason: unknown) => reason)) as HandoverError;
    expect(error).toMatchObject({
      name: 'HandoverError',
      code: fault.isEnd ? 'ERR_HANDOVER_SUCCESSOR_EXITED' : 'ERR_HANDOVER_PROTOCOL',
      phase: PHASES[count],
      stillServing: true,
      ...(fault.isEnd && { exitCode: 7 }),
      // It died, or was ended, with what it had been given.
      ...(isGiven && { connectionsLost: 2 }),
    });
    const hasCommitted = count > 2;
    // What may be in charge and lives is killed before anything is taken back: what was offered, but nothing that was given.
    const moved = isGiven ? ['release 1', 'release 2'] : [];
    const resumed = name === 'HELD' ? ['resume 1', 'resume 2'] : [];
    const first = hasCommitted
      ? ['step down', ...moved, ...(fault.isEnd ? [] : ['kill']), ...resumed, 'take back']
      : [];
    expect(calls).toEqual([...first, 'stop']);
    peer.close();
    await until(() => open() <= before, { what: 'what came in to be closed' });
  });
});
