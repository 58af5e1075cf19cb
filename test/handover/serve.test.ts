// serve(): signals, hooks, exit codes, and not a word that was not asked for.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, type Boot, boot, type Chain, useApps } from './apps.js';
import { HttpConnection } from './clients.js';

expectNoLeaks();
const { chain } = useApps();

/** serve() with these options, and hooks that tell when they run. */
const serving = (options: object = {}): Boot =>
  boot(async (inside, options) => {
    const server = inside.create('http');
    inside.handover = await inside.lib.serve(server, {
      name: 'web',
      port: 0,
      host: '127.0.0.1',
      probation: { duration: 0 },
      ...options,
    });
    inside.handover.onClose('first', () => inside.say('hook', 'first'));
    inside.handover.onClose('second', async () => inside.say('hook', 'second'));
    inside.handover.closing.addEventListener('abort', () => inside.say('closing'));
    inside.say('port', (server.address() as { port: number }).port);
  }, options);

/** A successor that loads for ever. */
const loads = boot(async (inside) => {
  await inside.open();
  inside.say('loading');
});

const client = async (app: App) => new HttpConnection({ port: await app.said<number>('port'), host: '127.0.0.1' });

/** How the first process ends; all it said is here then. */
async function exit({ program }: Chain, first: App) {
  const exit = await program.exit();
  await first.gone();
  return exit;
}

const EXIT_0 = { code: 0, signal: null };

describe('signals', () => {
  it('SIGUSR2 hands over: the predecessor exits 0, the successor serves', async () => {
    const { chain: processes, first } = await chain(serving());
    const connection = await client(first);
    expect((await connection.request('/')).pid).toBe(first.pid);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.booted;
    await first.said('handover:superseded');
    // The idle connection moves, and nothing keeps the predecessor.
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(first.allSaid('hook')).toEqual(['first', 'second']);
    expect(first.allSaid('handover:drained')).toMatchObject([{ moved: 1, cut: 0 }]);
    expect((await connection.request('/')).pid).toBe(second.pid);
    expect(connection.opened).toBe(1);
    connection.close();
    second.process.signal('SIGTERM');
    await second.gone();
    expect(second.allSaid('hook')).toEqual(['first', 'second']);
  });

  it('SIGUSR2 with migrate: false: the idle connection ends with its next answer, and so does the predecessor', async () => {
    const { chain: processes, first } = await chain(serving({ migrate: false }));
    const connection = await client(first);
    expect((await connection.request('/')).pid).toBe(first.pid);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.booted;
    await first.said('handover:superseded');
    expect((await connection.request('/')).pid).toBe(first.pid);
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(first.allSaid('hook')).toEqual(['first', 'second']);
    expect(first.allSaid('handover:drained')).toMatchObject([{ moved: 0, cut: 0 }]);
    expect((await connection.request('/')).pid).toBe(second.pid);
    expect(connection.opened).toBe(2);
    connection.close();
    second.process.signal('SIGTERM');
    await second.gone();
    expect(second.allSaid('hook')).toEqual(['first', 'second']);
  });

  it.each([
    'SIGTERM',
    'SIGINT',
  ] as const)('%s drains: what is in flight is answered, hooks run in order, exit 0', async (signal) => {
    const { chain: processes, first } = await chain(serving());
    const connection = await client(first);
    const slow = connection.request('/slow');
    const held = await client(first);
    const answer = held.request('/hold');
    await first.said('held');
    first.process.signal(signal);
    await first.said('closing');
    expect(first.allSaid('hook')).toEqual([]);
    await slow;
    await first.run(({ servers }) => servers.http?.release());
    await answer;
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(first.allSaid('hook')).toEqual(['first', 'second']);
    expect(processes.program.stdout + processes.program.stderr).toBe('');
    connection.close();
    held.close();
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('a second %s exits at once with %i', async (signal, code) => {
    const { chain: processes, first } = await chain(serving());
    const connection = await client(first);
    const lost = expect(connection.request('/hold')).rejects.toThrow(/closed|reset/i);
    await first.said('held');
    first.process.signal(signal);
    await first.said('closing');
    first.process.signal(signal);
    expect(await exit(processes, first)).toEqual({ code, signal: null });
    expect(first.allSaid('hook')).toEqual([]);
    await lost;
    connection.close();
  });

  it('other names: SIGHUP hands over, SIGQUIT drains', async () => {
    const { chain: processes, first } = await chain(serving({ signals: { upgrade: 'SIGHUP', shutdown: ['SIGQUIT'] } }));
    first.process.signal('SIGHUP');
    const second = await processes.generation(2);
    await second.booted;
    expect(await exit(processes, first)).toEqual(EXIT_0);
    second.process.signal('SIGQUIT');
    await second.gone();
    expect(second.allSaid('hook')).toEqual(['first', 'second']);
  });

  it.each([
    ['SIGUSR2', { signals: false }],
    ['SIGTERM', { signals: false }],
    ['SIGUSR2', { signals: { upgrade: false } }],
    ['SIGTERM', { signals: { shutdown: false } }],
    ['SIGINT', { signals: { shutdown: ['SIGTERM'] } }],
  ] as const)('%s with %j does what it does to any process', async (signal, options) => {
    const { chain: processes, first } = await chain(serving(options));
    first.process.signal(signal);
    expect(await exit(processes, first)).toEqual({ code: null, signal });
  });

  it('G7: SIGTERM during a handover leaves no successor and exits 0', async () => {
    const { chain: processes, first } = await chain([serving(), loads]);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.said('loading');
    first.process.signal('SIGTERM');
    expect(await exit(processes, first)).toEqual(EXIT_0);
    await second.gone();
    expect(first.allSaid('hook')).toEqual(['first', 'second']);
  });

  it('G5: a successor that fails changes nothing: the same process serves, and says why', async () => {
    const { chain: processes, first } = await chain([serving(), boot(() => process.exit(3))]);
    first.process.signal('SIGUSR2');
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    const connection = await client(first);
    expect((await connection.request('/', undefined, true)).pid).toBe(first.pid);
    first.process.signal('SIGTERM');
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(processes.program.stderr).toMatch(/^handover\[\d+\]: the handover failed in PREPARE: [^\n]*\n$/);
  });
});

describe('hooks', () => {
  it('one that hangs or throws is passed over and published; the others run', async () => {
    const { chain: processes, first } = await chain(serving());
    await first.run(({ handover, say }) => {
      handover.onClose('hangs', () => new Promise(() => {}), { timeout: 50 });
      handover.onClose('throws', () => {
        throw new Error('no');
      });
      handover.onClose('last', () => say('hook', 'last'));
    });
    first.process.signal('SIGTERM');
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(first.allSaid('hook')).toEqual(['first', 'second', 'last']);
    expect(first.allSaid('handover:hook-failed')).toEqual([
      { name: 'hangs', error: { name: 'Error', message: 'the close hook "hangs" did not end within 50 ms' } },
      { name: 'throws', error: { name: 'Error', message: 'no' } },
    ]);
  });

  it('a connection that never ends is cut after drain.timeout, and exit is 0', async () => {
    const { chain: processes, first } = await chain(serving({ drain: { timeout: 100 }, log: true }));
    const connection = await client(first);
    const lost = expect(connection.request('/hold')).rejects.toThrow(/closed|reset/i);
    await first.said('held');
    first.process.signal('SIGTERM');
    await lost;
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(first.allSaid('handover:drained')).toEqual([
      {
        generation: 1,
        moved: 0,
        ended: 0,
        cut: 1,
        cutConnections: [expect.objectContaining({ protocol: 'http1', state: 'busy', connections: 1 })],
        durationMs: expect.any(Number),
      },
    ]);
    await processes.program.errorLine(
      /has drained: 0 connections moved, 1 were cut: 1 busy http1 of "web" by drainTimeout \(read \d+, wrote 0 bytes, up to \d s old\)$/,
    );
    connection.close();
  });
});

describe('log', () => {
  it('true: lines on stderr that name process, address and generation', async () => {
    const { chain: processes, first } = await chain(serving({ log: true }));
    const { program } = processes;
    await program.errorLine(new RegExp(`^handover\\[${first.pid}\\]: bound tcp://127\\.0\\.0\\.1:0 as "web"$`));
    await program.errorLine(new RegExp(`^handover\\[${first.pid}\\]: generation 1 is in charge$`));
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await program.errorLine(new RegExp(`^handover\\[${second.pid}\\]: generation 2 is in charge$`));
    await program.errorLine(new RegExp(`^handover\\[${first.pid}\\]: generation 1 handed over to pid ${second.pid}`));
    await program.errorLine(
      new RegExp(`^handover\\[${first.pid}\\]: generation 1 has drained: 0 connections moved, 0 were cut$`),
    );
    await program.exit();
    second.process.signal('SIGTERM');
    await second.gone();
    expect(program.stdout).toBe('');
  });

  it('a logger gets fields and a message at each level', async () => {
    const logging = boot(async (inside) => {
      const line = (level: string) => (fields: object, message: string) =>
        inside.say('logged', { level, message, ...fields });
      const log = { info: line('info'), warn: line('warn'), error: line('error') };
      inside.handover = await inside.lib.serve(inside.create('http'), { port: 0, host: '127.0.0.1', log });
      inside.handover.onClose('throws', () => {
        throw new Error('no');
      });
    });
    const { chain: processes, first } = await chain([logging, boot(() => process.exit(3))]);
    first.process.signal('SIGUSR2');
    await first.said('handover:failed');
    first.process.signal('SIGTERM');
    expect(await exit(processes, first)).toEqual(EXIT_0);
    expect(first.allSaid('logged')).toMatchObject([
      { level: 'info', event: 'listen', origin: 'bound' },
      { level: 'info', event: 'in-charge', generation: 1, pid: first.pid },
      { level: 'info', event: 'requested', generation: 1, requester: { by: 'signal', signal: 'SIGUSR2' } },
      { level: 'error', event: 'upgrade-failed', code: 'ERR_HANDOVER_SUCCESSOR_EXITED', stillServing: true },
      { level: 'info', event: 'drained', moved: 0, cut: 0 },
      { level: 'error', event: 'hook-failed', name: 'throws', message: 'no' },
    ]);
    expect(processes.program.stderr).toBe('');
  });
});

describe('options are refused by name, before any side effect', () => {
  it.each([
    [{ prot: 80 }, 'prot'],
    [{ port: 0, path: 'x.sock' }, 'port, path, abstract'],
    [{}, 'port, path, abstract'],
    [{ port: '80' }, 'port'],
    [{ port: 70_000 }, 'port'],
    [{ port: 0, name: 'handover:x' }, 'options.name'],
    [{ port: 0, readyTimeout: 0 }, 'options.readyTimeout'],
    [{ port: 0, drain: { timeout: '1s' } }, 'options.drain.timeout'],
    [{ port: 0, allowOrphan: 'yes' }, 'options.allowOrphan'],
    [{ port: 0, connections: 'keep' }, 'options.connections'],
    [{ port: 0, systemd: true }, 'options.systemd'],
    [{ port: 0, systemd: { fdstore: 'yes' } }, 'options.systemd.fdstore'],
    [{ port: 0, audit: 1 }, 'options.audit'],
    [{ port: 0, timeline: 'here' }, 'options.timeline'],
    [{ port: 0, timeline: { directory: '' } }, 'options.timeline.directory'],
    [{ port: 0, timeline: { folder: 'here' } }, 'folder'],
    [{ port: 0, log: 'debug' }, 'options.log'],
    [{ port: 0, signals: { restart: 'SIGHUP' } }, 'restart'],
    [{ port: 0, signals: { upgrade: 'SIGFOO' } }, 'options.signals.upgrade'],
    [{ port: 0, signals: { shutdown: 'SIGTERM' } }, 'options.signals.shutdown'],
    [{ port: 0, signals: { shutdown: ['SIGFOO'] } }, 'options.signals.shutdown'],
  ])('%j', async (options, named) => {
    const tries = boot(async (inside, options) => {
      const error = await inside.lib.serve(inside.create('http'), options as never).then(
        () => new Error('accepted'),
        (error) => error,
      );
      const signals = ['SIGUSR2', 'SIGTERM', 'SIGINT'].map((name) => process.listenerCount(name));
      inside.say('refused', { name: error.name, message: error.message, signals });
      // Nothing is left open: it can be tried again.
      inside.handover = await inside.lib.serve(inside.create('http'), { port: 0, host: '127.0.0.1' });
    }, options);
    const { chain: processes, first } = await chain(tries);
    expect(await first.said('refused')).toEqual({
      name: expect.stringMatching(/^(Type|Range)Error$/),
      message: expect.stringContaining(named),
      signals: [0, 0, 0],
    });
    first.process.signal('SIGTERM');
    expect(await exit(processes, first)).toEqual(EXIT_0);
  });

  it('what is no server', async () => {
    const { chain: processes, first } = await chain(
      boot(async (inside) => {
        await inside.open();
        const refused = inside.handover.listen({} as never, { port: 0 });
        inside.say('refused', await refused.catch((error) => error.message));
        await inside.handover.close();
      }),
    );
    expect(await first.said('refused')).toContain('"listener" must be a server');
    expect(await exit(processes, first)).toEqual(EXIT_0);
  });

  it('ERR_HANDOVER_ALREADY_OPEN: a second serve() or openHandover() of the process', async () => {
    const { chain: processes, first } = await chain(serving());
    const codes = await first.run(async (inside) => [
      await inside.lib.openHandover().catch((error) => error.code),
      await inside.lib.serve(inside.create('net'), { port: 0 }).catch((error) => error.code),
    ]);
    expect(codes).toEqual(['ERR_HANDOVER_ALREADY_OPEN', 'ERR_HANDOVER_ALREADY_OPEN']);
    first.process.signal('SIGTERM');
    expect(await exit(processes, first)).toEqual(EXIT_0);
  });
});

it('setup runs before the server listens, and is awaited', async () => {
  const { chain: processes, first } = await chain(
    boot(async (inside) => {
      const server = inside.create('http');
      const order: string[] = [];
      server.once('listening', () => order.push('listening'));
      inside.handover = await inside.lib.serve(server, {
        port: 0,
        host: '127.0.0.1',
        setup: async (handover) => {
          handover.whenInCharge(() => order.push('in charge'));
          await new Promise((resolve) => setTimeout(resolve, 20));
          order.push(`set up ${handover.isInCharge} ${server.listening}`);
        },
      });
      inside.say('order', order);
      const wrong = inside.lib.serve(server, { port: 0, setup: 1 as never });
      inside.say('wrong', await wrong.catch(({ message }) => message));
    }),
  );
  expect(await first.said('order')).toEqual(['set up false false', 'listening', 'in charge']);
  expect(await first.said('wrong')).toContain('options.setup');
  first.process.signal('SIGTERM');
  expect(await exit(processes, first)).toEqual(EXIT_0);
});
