// G4, G5, G7, G8: the matrix in one process, the successor's side: as predecessor-frames.test.ts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventChannel, type HandoverEvents } from '../../lib/events.js';
import { closeFd, closeFds } from '../../lib/fd/index.js';
import { processStartTime } from '../../lib/fd/pidfd.js';
import { IncomingHandover } from '../../lib/handover/incoming.js';
import { encodeFrame, type Hello } from '../../lib/protocol/frames.js';
import { Peer } from '../handover/peer.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { entries, FAULTS, file, hello, open } from './peer-faults.js';

expectNoLeaks();

/** A process that can be the predecessor of a HELLO, and end. */
async function someProcess(): Promise<{ hello: Hello; end(): Promise<void> }> {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await once(child, 'spawn');
  const pid = child.pid as number;
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(end);
  return { hello: { ...hello, pid, startTime: processStartTime(pid) }, end };
}

describe('a successor whose predecessor fails', () => {
  async function begin() {
    const peer = new Peer('successor');
    const predecessor = await someProcess();
    const calls: string[] = [];
    const joined = IncomingHandover.join(peer.channel, hello, {
      inheritance: {
        inherit(_, fds) {
          calls.push('inherit');
          closeFds(fds);
        },
        adoptStderr() {},
        readHelpersStderr() {},
      },
      succession: {
        mayTakeCharge: () => true,
        mayInherit: async () => true,
        takeCharge: async () => void calls.push('take charge'),
      },
      ends: {
        becomeAlone() {},
        giveUp: ({ code }) => calls.push(`give up ${code}`),
      },
      vitals: { connectionCount: () => 0 },
      adopterOf: () => () => ({
        protocol: 'http1',
        canMove: true,
        hold(fd) {
          const adopt = (): void => {
            calls.push('adopt');
            closeFd(fd);
          };
          return { go: adopt, abort: () => closeFd(fd) };
        },
        movable: () => [],
        whenMovable: () => () => {},
        stay() {},
      }),
    });
    joined.catch(() => {});
    return { peer, joined, calls, ...predecessor };
  }

  /** How far it has come when the predecessor fails. */
  const STAGES = ['HELLO', 'MANIFEST', 'COMMIT', 'OFFER', 'GO', 'RETIRE'] as const;
  const nothing = new Uint8Array(0);
  const connection = { listener: 'web', protocol: 'http1', head: nothing, state: nothing };

  async function upTo(stage: number, { peer, joined, hello }: Awaited<ReturnType<typeof begin>>): Promise<void> {
    if (stage > 0) await peer.send('HELLO', hello);
    if (stage > 1) {
      await peer.send('MANIFEST', { entries, more: false }, [file()]);
      await (await joined).announceReady({ claimed: ['web'], unclaimed: [] });
    }
    const answer = async (wanted: string): Promise<void> => {
      for (let name = ''; name !== wanted; ) ({ name } = await peer.next());
    };
    if (stage > 2) {
      await peer.send('COMMIT', { entries: [], more: false });
      await answer('COMMITTED');
    }
    if (stage > 3) {
      await peer.send('OFFER', { batch: 1, connections: [connection, connection] }, [file(), file()]);
      await answer('HELD');
    }
    if (stage > 4) await peer.send('GO', { batch: 1 });
  }

  /** Once each: those it holds, and has not been given before. */
  const adopted = (count: number): string[] => (count > 3 ? ['adopt', 'adopt'] : []);
  const cells = STAGES.flatMap((name, count) => FAULTS.map((fault) => ({ name, count, fault })));

  it.each(cells)('instead of $name: $fault.name', async ({ count, fault }) => {
    const before = open();
    const side = await begin();
    const { peer, joined, calls } = side;
    await upTo(count, side);
    await fault.act(peer);
    const isHeir = count > 1;
    if (fault.isEnd) await side.end();

    if (isHeir && (fault.isEnd || count > 2)) {
      // It holds everything: a predecessor that is gone leaves it in charge, once. One that is only broken does, too, once
      // this process is in charge: it may be retiring, and then nobody else would serve.
      if (!fault.isEnd) {
        await until(() => peer.channel.isClosed, { what: 'the successor to hang up' });
        // What a living predecessor has offered and not given is still its own.
        expect(calls.filter((call) => call === 'adopt')).toEqual(count > 4 ? adopted(count) : []);
        await side.end();
      }
      await (await joined).alone;
      expect(calls.filter((call) => call !== 'inherit')).toEqual(['take charge', ...adopted(count)]);
    } else {
      const ended = isHeir ? (await joined).ended : joined;
      const code = fault.isEnd ? 'ERR_HANDOVER_PEER_LOST' : 'ERR_HANDOVER_PROTOCOL';
      await expect(ended).rejects.toMatchObject({ name: 'HandoverError', code, stillServing: expect.any(Boolean) });
      expect(calls.at(-1)).toBe(isHeir || !fault.isEnd ? `give up ${code}` : calls.at(-1));
    }
    peer.close();
    await until(() => open() <= before, { what: 'what came in to be closed' });
  });

  it.each([
    'HELLO',
    'MANIFEST',
    'COMMIT',
  ] as const)('G4: a predecessor that closes the channel instead of %s, and lives, serves: this process ends', async (name) => {
    const side = await begin();
    await upTo(STAGES.indexOf(name), side);
    side.peer.close();
    const ended = name === 'COMMIT' ? (await side.joined).ended : side.joined;
    await expect(ended).rejects.toMatchObject({ code: 'ERR_HANDOVER_PEER_LOST' });
    expect(side.calls).not.toContain('take charge');
  });

  it('two GOs in one message: whatever else waits has its turn between them', async () => {
    const side = await begin();
    const { peer, calls } = side;
    await upTo(STAGES.indexOf('GO'), side);
    await peer.send('OFFER', { batch: 2, connections: [connection] }, [file()]);
    while ((await peer.next()).name !== 'HELD');
    const seen: string[] = [];
    const onFrame = (message: unknown): void => {
      const { direction, name, batch } = message as HandoverEvents['frame'];
      if (direction !== 'received' || name !== 'GO') return;
      seen.push(`GO ${batch}`);
      setImmediate(() => seen.push('turn'));
    };
    const frames = eventChannel('frame');
    frames.subscribe(onFrame);
    onTestFinished(() => void frames.unsubscribe(onFrame));
    await peer.write(Buffer.concat([1, 2].map((batch) => encodeFrame('GO', { batch }, 0))));
    await until(() => seen.length === 4, { what: 'both batches to be adopted' });
    expect(seen).toEqual(['GO 1', 'turn', 'GO 2', 'turn']);
    expect(calls.filter((call) => call === 'adopt')).toHaveLength(3);
    await side.end();
    peer.close();
    await (await side.joined).alone;
  });

  it("G4: what is offered and not given stays the predecessor's while it lives, also without a channel", async () => {
    const side = await begin();
    await upTo(STAGES.indexOf('GO'), side);
    side.peer.close();
    await until(() => side.peer.channel.isClosed, { what: 'the successor to see the end' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(side.calls).not.toContain('adopt');
    await side.end();
    await (await side.joined).alone;
    expect(side.calls.filter((call) => call === 'adopt')).toHaveLength(2);
  });

  it.each([
    'GO',
    'RETIRE',
  ] as const)('G4: ABORT instead of %s: what was not given is closed, and never read', async (name) => {
    const before = open();
    const side = await begin();
    const stage = STAGES.indexOf(name);
    await upTo(stage, side);
    await side.peer.send('ABORT', { code: 'ERR_HANDOVER_TIMEOUT', reason: 'silent' });
    await expect((await side.joined).ended).rejects.toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT' });
    expect(side.calls.slice(2)).toEqual([
      'take charge',
      ...(name === 'GO' ? [] : adopted(stage)),
      'give up ERR_HANDOVER_TIMEOUT',
    ]);
    side.peer.close();
    await until(() => open() <= before, { what: 'what it held to be closed' });
  });

  it('G4: ABORT of one batch, then GO of it: a fault of the predecessor, and nobody reads', async () => {
    const side = await begin();
    await upTo(STAGES.indexOf('GO'), side);
    await side.peer.send('ABORT', { batch: 1 });
    await side.peer.send('GO', { batch: 1 });
    await until(() => side.peer.channel.isClosed, { what: 'the successor to hang up' });
    expect(side.calls).not.toContain('adopt');
  });
});
