// G5: a successor holds the descriptors from MANIFEST on: whenever its predecessor dies after that, it is in charge. In
// one process, because the moments between two frames cannot be hit from outside.
import { expect, it, onTestFinished } from 'vitest';
import { FdSocket } from '../../lib/fd/index.js';
import { IncomingHandover } from '../../lib/handover/incoming.js';
import { OutgoingHandover } from '../../lib/handover/outgoing.js';
import { Channel } from '../../lib/protocol/channel.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const hello = { protocol: { min: 1, max: 1 }, pid: 1, version: '0.1.0', capabilities: ['heartbeat'] };
const claims = { claimed: [], unclaimed: [] };

/** A successor that has what it inherits, and its predecessor's end. */
async function joined(): Promise<{ successor: IncomingHandover; predecessor: Channel; heard: string[] }> {
  const [ours, theirs] = FdSocket.pair();
  const predecessor = new Channel(theirs, 'predecessor');
  const heard: string[] = [];
  const joining = IncomingHandover.join(new Channel(ours, 'successor'), hello, {
    inheritance: { inherit: () => {}, adoptStderr: () => {}, readHelpersStderr: () => {} },
    succession: {
      mayTakeCharge: () => true,
      mayInherit: async () => true,
      takeCharge: async () => void heard.push('charge'),
    },
    ends: { becomeAlone: () => {}, giveUp: (error) => void heard.push(error.code) },
    vitals: { connectionCount: () => 0, health: async () => true },
    adopterOf: () => undefined,
  });
  await predecessor.send('HELLO', { ...hello, generation: 1 });
  await predecessor.send('MANIFEST', { entries: [], more: false });
  onTestFinished(() => {
    predecessor.close();
    successor.leave();
  });
  const successor = await joining;
  return { successor, predecessor, heard };
}

it('the predecessor dies in the moment in which the successor says READY', async () => {
  const { successor, predecessor, heard } = await joined();
  predecessor.close();
  // Its end has not been read yet: what is sent fails.
  await successor.announceReady(claims);
  expect([heard[0], successor.isAlone]).toEqual(['charge', true]);
});

it('before that, while the app loads', async () => {
  const { successor, predecessor, heard } = await joined();
  predecessor.close();
  await successor.alone;
  expect(heard).toEqual([]);
  await successor.announceReady(claims);
  expect([heard, successor.isAlone]).toEqual([['charge'], true]);
});

it('after READY, between the frames of one COMMIT, and before COMMITTED is read', async () => {
  for (const frames of [[], [true], [true, false]]) {
    const { successor, predecessor, heard } = await joined();
    await successor.announceReady(claims);
    for (const more of frames) await predecessor.send('COMMIT', { entries: [], more });
    predecessor.close();
    await successor.alone;
    expect([heard[0], successor.isAlone]).toEqual(['charge', true]);
  }
});

it('an ABORT that came before its end is obeyed: the predecessor serves, or has died serving', async () => {
  const { successor, predecessor, heard } = await joined();
  await predecessor.send('ABORT', { code: 'ERR_HANDOVER_CLOSED', reason: 'not today' });
  predecessor.close();
  await expect(successor.announceReady(claims)).rejects.toMatchObject({ code: 'ERR_HANDOVER_CLOSED' });
  expect([heard, successor.isAlone]).toEqual([['ERR_HANDOVER_CLOSED'], false]);
});

it('G8: a successor that dies in the moment of COMMIT is one that ended, not a broken pipe', async () => {
  const [ours, theirs] = FdSocket.pair();
  const successor = new Channel(theirs, 'successor');
  const list = { entries: [], fds: new Int32Array(0) };
  const steps: string[] = [];
  const giving = { list: () => list, stepDown: async () => list };
  const takingBack = {
    mayTakeBack: async () => true,
    takeBack: async () => void steps.push('back'),
    letGo: () => {},
  };
  const child = {
    pid: 2,
    exited: Promise.resolve({ code: 3, signal: null }),
    isChild: true,
    wasStarted: true,
    hasEnded: () => false,
    stderrTail: async () => '',
    stop: async () => {},
    release: () => {},
  };
  const outgoing = {
    channel: new Channel(ours, 'predecessor'),
    process: child,
    hello: { ...hello, generation: 1 },
  };
  const predecessor = new OutgoingHandover(outgoing, giving, takingBack);
  const preparing = predecessor.prepare({ readyTimeout: 5_000, standby: false });
  await successor.send('HELLO', { ...hello, generation: 0 });
  await successor.send('CLAIMED', claims);
  await successor.send('READY', {});
  await preparing;
  successor.close();
  const reason = await predecessor.commit(2_000).catch((error: unknown) => error);
  expect(await predecessor.giveUp(reason)).toMatchObject({
    name: 'HandoverError',
    code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
    phase: 'COMMIT',
    exitCode: 3,
    stillServing: true,
  });
  expect(steps).toEqual(['back']);
});
