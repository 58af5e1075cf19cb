// The receiving side of rebalancing: a worker that serves already takes over the connections of another worker that leaves.
// There are no phases, because the leaving worker hands over connections and nothing else.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HandoverError } from '../errors.js';
import { closeFds } from '../fd/index.js';
import type { Held } from '../protocol/batches.js';
import type { Channel } from '../protocol/channel.js';
import { type Frame, type Hello, negotiate } from '../protocol/frames.js';
import { hasDied } from '../protocol/peer-process.js';
import type { Adopter } from '../protocols/protocol.js';
import { Holding } from './holding.js';

/**
 * Takes connections over the channel, which it owns, until the leaving process is done or dead. Resolves with the number of
 * adopted connections.
 * @throws ERR_HANDOVER_PROTOCOL, ERR_HANDOVER_VERSION
 */
export async function receiveConnections(
  channel: Channel,
  hello: Hello,
  adopterOf: (listener: string) => Adopter | undefined,
): Promise<number> {
  const holding = new Holding(adopterOf);
  let peer: Hello | undefined;
  channel.unref();
  try {
    await channel.send('HELLO', hello);
    for await (const frame of channel) {
      if (frame.name === 'RETIRE') {
        closeFds(frame.fds);
        return holding.adopted;
      }
      if (frame.name === 'HELLO') peer = frame.payload;
      onFrame(frame, channel, hello, holding);
      // Connections served here get their turn between batches.
      if (frame.name === 'GO') await nextTurn();
    }
    // The leaving process may be alive after its channel has closed: only its death makes the offered connections ours.
    await hasDied(peer);
    await holding.goAll();
    return holding.adopted;
  } finally {
    holding.abortAll();
    channel.close();
  }
}

function onFrame(frame: Frame, channel: Channel, hello: Hello, holding: Holding): void {
  if (frame.name === 'OFFER') {
    const answer = (held: Held): void => void channel.send('HELD', held).catch(() => {});
    if (frame.isLost) holding.refuse(frame.payload, answer);
    else holding.hold(frame.payload, frame.fds, answer);
    return;
  }
  closeFds(frame.fds);
  if (frame.name === 'HELLO') negotiate(hello, frame.payload);
  else if (frame.name === 'GO') holding.go(frame.payload.batch);
  else if (frame.name === 'ABORT' && frame.payload.batch !== undefined) holding.abort(frame.payload.batch);
  else if (frame.name === 'ABORT') holding.abortAll();
  else if (frame.name !== 'HEARTBEAT') {
    throw new HandoverError('ERR_HANDOVER_PROTOCOL', `a process that gives its connections away sent ${frame.name}`, {
      stillServing: true,
    });
  }
}
