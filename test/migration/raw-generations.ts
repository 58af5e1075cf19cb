// Real processes that hand raw connections on: a line protocol that counts, and a stream of known bytes both ways.
import type { NetConnectOpts } from 'node:net';
import type { ListenOptions } from '../../lib/index.js';
import { type App, type Boot, boot } from '../handover/apps.js';
import type { Strike } from './generations.js';

export interface RawSetting {
  readonly address?: Pick<ListenOptions, 'port' | 'host' | 'path' | 'abstract'>;
  /** Milliseconds `save` takes; absent: it returns at once. */
  readonly saveTime?: number;
  /** Signals itself at this frame, the n-th of its name. */
  readonly strike?: Strike;
  /** Listens without `migrate`. */
  readonly drains?: boolean;
}

/**
 * A generation. A connection that says `stream` first gets known bytes at full speed from then on, and sends them;
 * any other gets `<pid> <count> <line>` for each line.
 */
export function rawGeneration(setting: RawSetting = {}): Boot {
  return boot(async (inside, { address, saveTime, strike, drains }) => {
    interface Talk {
      count: number;
      rest: string;
    }
    interface Streaming {
      readonly received: number;
      readonly sent: number;
    }
    type State = Talk | Streaming;
    const net = process.getBuiltinModule('node:net');
    const saves = new Map<import('node:net').Socket, { save(): State; stay(): void }>();
    // Bytes told from their neighbours, and from those a chunk away: the period is a prime.
    const period = 999_983;
    const pattern = Buffer.alloc(period + 100_000);
    for (let i = 0; i < pattern.length; i++) pattern[i] = ((i % period) * 2_654_435_761) >>> 24;
    // Bytes of the stream from this place on.
    const numbered = (from: number, length: number): Buffer =>
      pattern.subarray(from % period, (from % period) + length);
    const stream = (socket: import('node:net').Socket, { received, sent }: Streaming): void => {
      const progress = { received, sent };
      let isSending = true;
      const send = (): void => {
        while (isSending) {
          const chunk = numbered(progress.sent, 50_000 + (progress.sent % 4_999));
          progress.sent += chunk.length;
          if (!socket.write(chunk)) return;
        }
      };
      socket.on('drain', send).on('data', (chunk: Buffer) => {
        if (!chunk.equals(numbered(progress.received, chunk.length))) inside.say('mismatch', progress);
        progress.received += chunk.length;
        inside.kept.received = progress.received;
      });
      // The client ends it when it has seen enough.
      socket.on('end', () => {
        isSending = false;
        inside.say('streamed', progress);
        socket.destroy();
      });
      socket.on('error', () => {});
      saves.set(socket, {
        save: () => {
          isSending = false;
          return progress;
        },
        stay: () => {
          isSending = true;
          send();
        },
      });
      send();
    };
    const talk = (socket: import('node:net').Socket, state: Talk): void => {
      const onData = (chunk: Buffer): void => {
        const text = state.rest + chunk.toString('latin1');
        if (text.startsWith('stream\n')) {
          socket.off('data', onData);
          const begun = Buffer.from(text.slice('stream\n'.length), 'latin1');
          if (!begun.equals(numbered(0, begun.length))) inside.say('mismatch', state);
          stream(socket, { received: begun.length, sent: 0 });
          return;
        }
        const lines = text.split('\n');
        state.rest = lines.pop() ?? '';
        for (const line of lines) {
          socket.write(`${process.pid} ${++state.count} ${line}\n`, 'latin1');
        }
      };
      saves.set(socket, { save: () => state, stay: () => {} });
      socket.on('data', onData).on('error', () => {});
      socket.on('close', () => inside.say('closed'));
    };
    const server = net.createServer((socket) => {
      inside.say('connection');
      talk(socket, { count: 0, rest: '' });
    });
    inside.kept.server = server;
    let frames = 0;
    process.getBuiltinModule('node:diagnostics_channel').subscribe('handover:frame', (message) => {
      const { direction, name } = message as { direction: string; name: string };
      if (direction !== strike?.direction || name !== strike.name) return;
      if (++frames === (strike.nth ?? 1)) process.kill(process.pid, strike.signal);
    });
    await inside.open({ probation: { duration: 0 }, drain: { timeout: 10_000 } });
    const migrate = {
      save: async (socket: import('node:net').Socket) => {
        if (saveTime !== undefined) await new Promise((resolve) => setTimeout(resolve, saveTime));
        return saves.get(socket)?.save();
      },
      stay: (socket: import('node:net').Socket) => saves.get(socket)?.stay(),
      restore: (socket: import('node:net').Socket, state: State) => {
        if ('sent' in state) stream(socket, state);
        else talk(socket, state);
      },
    };
    const where = address ?? { port: 0, host: '127.0.0.1' };
    const listening = await inside.handover.listen(server, { name: 'raw', ...where, ...(drains ? {} : { migrate }) });
    inside.say('listening', listening);
    await inside.handover.ready();
  }, setting);
}

export async function targetOf(app: App): Promise<NetConnectOpts> {
  const { address } = await app.said<{ address: { port: number } | string }>('listening');
  return typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' };
}
