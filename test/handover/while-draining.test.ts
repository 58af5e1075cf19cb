// G2: sessions that a draining process still has open need sockets of their own: the passive ports of FTP, the relays of TURN,
// the media ports of SIP and RTP. Whoever opens one there gets what Node gives, whether the handover is asked or not.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { HandoverOptions } from '../../lib/index.js';
import { preload } from '../auto/preloaded.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, type Boot, boot, useApps } from './apps.js';

expectNoLeaks();
const apps = useApps();

/**
 * Sessions of lines: for `tcp` and `udp` the app looks for a free port by trying one, opens it and names it, as FTP servers
 * do; whoever comes there is told the pid. `again`: it listens at its own address once more. With `options` by the handover.
 */
function sessions(options: HandoverOptions | undefined): Boot {
  return boot(async (inside, options) => {
    const net = process.getBuiltinModule('node:net');
    const dgram = process.getBuiltinModule('node:dgram');
    const { once } = process.getBuiltinModule('node:events');
    const handover = options ? await inside.open(options) : undefined;
    let port = 0;
    let opened = 0;
    const listen = async (server: import('node:net').Server, wanted: number, name = `${++opened}`): Promise<number> => {
      if (handover) {
        const { address } = await handover.listen(server, { name, port: wanted, host: '127.0.0.1' });
        return (address as { port: number }).port;
      }
      server.listen(wanted, '127.0.0.1');
      await once(server, 'listening');
      return (server.address() as { port: number }).port;
    };
    const close = async (closing: { close(): unknown } & NodeJS.EventEmitter): Promise<void> => {
      closing.close();
      await once(closing, 'close');
    };
    const open = {
      tcp: async () => {
        const probe = net.createServer();
        const free = await listen(probe, 0);
        await close(probe);
        const server = net.createServer((socket) => {
          socket.end(`${process.pid}`);
          server.close();
        });
        return listen(server, free);
      },
      udp: async () => {
        const probe = dgram.createSocket('udp4').bind(0, '127.0.0.1');
        await once(probe, 'listening');
        const { port: free } = probe.address();
        await close(probe);
        const socket = dgram.createSocket('udp4');
        socket.on('message', (_, { port, address }) =>
          socket.send(`${process.pid}`, port, address, () => socket.close()),
        );
        if (handover) await handover.listen(socket, { port: free, host: '127.0.0.1' });
        else {
          socket.bind(free, '127.0.0.1');
          await once(socket, 'listening');
        }
        return free;
      },
      again: () => listen(net.createServer(), port, 'control'),
    };
    const control = net.createServer((socket) => {
      socket.setEncoding('utf8').on('data', (word: string) => {
        open[word as keyof typeof open]().then(
          (at) => socket.write(`${at}\n`),
          (error: NodeJS.ErrnoException) => socket.write(`${error.code}\n`),
        );
      });
      inside.say('session');
    });
    port = await listen(control, 0, 'control');
    inside.say('port', port);
    await handover?.ready();
    if (handover) handover.closing.addEventListener('abort', () => inside.say('closing'));
    // Behind the one that is told to end.
    else process.on('SIGTERM', () => inside.say('closing'));
  }, options ?? null);
}

/** The answer of a session to a word. */
async function ask(session: Socket, word: string): Promise<string> {
  session.write(word);
  const [answer] = (await once(session, 'data')) as [string];
  return answer.trim();
}

async function session(app: App): Promise<Socket> {
  // Asked for a handover before that, a process refuses.
  await app.said('handover:in-charge');
  const socket = connect(await app.said<number>('port'), '127.0.0.1').setEncoding('utf8');
  onTestFinished(() => {
    socket.destroy();
  });
  await app.said('session');
  return socket;
}

/** Who answers at the port of a transfer. */
async function transfer(kind: 'tcp' | 'udp', port: number): Promise<number> {
  if (kind === 'tcp') {
    const socket = connect(port, '127.0.0.1').setEncoding('utf8');
    const [pid] = (await once(socket, 'data')) as [string];
    await once(socket, 'close');
    return Number(pid);
  }
  const { createSocket } = await import('node:dgram');
  const socket = createSocket('udp4');
  socket.send('who', port, '127.0.0.1');
  const [pid] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return Number(`${pid}`);
}

describe.each([
  ['handover/auto', false],
  ['handover.listen()', true],
])('%s', (_, api) => {
  const start = (probation = 0) => {
    const options = { probation: { duration: probation }, drain: { timeout: 10_000 } };
    return api ? apps.chain(sessions(options)) : preload(apps, sessions(undefined), options);
  };

  it('G2: a session in a superseded process opens ports, and whoever comes there is served', async () => {
    const { chain, first } = await start();
    const control = await session(first);
    if (api) await first.upgrade();
    else first.process.signal('SIGUSR2');
    const second = await chain.generation(2);
    await first.said('handover:superseded');
    for (const kind of ['tcp', 'udp', 'tcp', 'udp'] as const) {
      expect(await transfer(kind, Number(await ask(control, kind)))).toBe(first.pid);
    }
    // The successor listens there, and the kernel says so.
    expect(await ask(control, 'again')).toBe('EADDRINUSE');
    control.destroy();
    expect(await first.said('handover:drained')).toMatchObject({ cut: 0 });
    await first.gone();
    if (api) await second.close();
    else {
      second.process.signal('SIGTERM');
      await second.gone();
    }
  });

  it('G2: and in one that was told to end', async () => {
    const { first } = await start();
    const control = await session(first);
    if (api) await first.run(({ handover }) => void handover.close());
    else first.process.signal('SIGTERM');
    await first.said('closing');
    for (const kind of ['tcp', 'udp'] as const) {
      expect(await transfer(kind, Number(await ask(control, kind)))).toBe(first.pid);
    }
    control.destroy();
    await first.gone();
  });

  it('G2: what a session opens on probation is nothing the successor knows: it is served by that process', async () => {
    const { chain, first } = await start(2_000);
    const control = await session(first);
    const upgraded = api ? first.upgrade() : first.process.signal('SIGUSR2');
    await first.run((inside) => {
      process.getBuiltinModule('node:diagnostics_channel').subscribe('handover:phase', (message) => {
        inside.say((message as { phase: string }).phase);
      });
    });
    const second = await chain.generation(2);
    await first.said('PROBATION');
    const [tcp, udp] = [Number(await ask(control, 'tcp')), Number(await ask(control, 'udp'))];
    await upgraded;
    await first.said('handover:superseded');
    expect([await transfer('tcp', tcp), await transfer('udp', udp)]).toEqual([first.pid, first.pid]);
    control.destroy();
    await first.gone();
    if (api) await second.close();
    else {
      second.process.signal('SIGTERM');
      await second.gone();
    }
  });

  it('G2: what a session opened while the process stepped down listens, and is served by that process', async () => {
    const { chain, first } = await start();
    const control = await session(first);
    // The moment in which it has stopped accepting and has sent nothing yet.
    await first.run((inside) => {
      process.getBuiltinModule('node:diagnostics_channel').subscribe('handover:phase', (message) => {
        if ((message as { phase: string }).phase === 'COMMIT') inside.say('COMMIT');
      });
    });
    const stepping = first.said('COMMIT').then(() => ask(control, 'tcp'));
    if (api) await first.upgrade();
    else first.process.signal('SIGUSR2');
    expect(await transfer('tcp', Number(await stepping))).toBe(first.pid);
    control.destroy();
    const second = await chain.generation(2);
    await first.gone();
    if (api) await second.close();
    else {
      second.process.signal('SIGTERM');
      await second.gone();
    }
  });
});
