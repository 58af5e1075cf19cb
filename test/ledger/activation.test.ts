// Sockets that whoever started this process passes along, by every convention, to real processes that get descriptors.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { get } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it, test } from 'vitest';
import { type BindListenerOptions, bindListener, describeFd } from '../../lib/fd/index.js';
import { readConventions } from '../../lib/platform/conventions.js';
import { parseStoreName, storeNameOf } from '../../lib/resources/store-name.js';
import { hasLinuxFloor, inode, own, pair, temporaryFolder, thrownBy } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Program, usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const { start, follow } = usePrograms();

const FIXTURE = new URL('fixtures/activated.mjs', import.meta.url);
const HOST = '127.0.0.1';

interface Plan {
  readonly own?: readonly ('LISTEN_PID' | 'EINHORN_MASTER_PID')[];
  readonly listen?: readonly object[];
  readonly inherited?: readonly string[];
  readonly flags?: readonly number[];
  readonly upgrade?: boolean;
}

interface Result {
  readonly pid: number;
  readonly generation: number;
  readonly listening: readonly { name: string; address: AddressInfo | string; origin: string }[];
  readonly inherited: readonly boolean[];
  readonly claimed: readonly string[];
  readonly unclaimed: readonly string[];
  readonly flags: readonly boolean[];
  readonly variables: readonly string[];
  /** Those it was started with. */
  readonly initial: readonly string[];
  readonly sockets: readonly string[];
  readonly error?: { readonly code: string; readonly message: string; readonly name: string };
}

type Started = Program & { readonly result: Result };

/** A process with these descriptors from 3 on; its plan is carried out when this resolves. */
async function begin(fds: readonly number[], env: Record<string, string>, plan: Plan): Promise<Started> {
  const program = start(FIXTURE, { args: [JSON.stringify(plan)], fds, env });
  return Object.assign(program, { result: await program.message<Result>('result') });
}

/** The same for one that ends by itself because it could not begin. */
async function refused(fds: readonly number[], env: Record<string, string>, plan: Plan): Promise<Result> {
  const program = await begin(fds, env, plan);
  expect(await program.exit()).toEqual({ code: 0, signal: null });
  return program.result;
}

function tcp(options: Partial<BindListenerOptions> = {}): { readonly fd: number; readonly port: number } {
  const fd = own(bindListener({ host: HOST, port: 0, ...options } as BindListenerOptions));
  return { fd, port: (describeFd(fd).socket?.local as AddressInfo).port };
}

function udp(): { readonly fd: number; readonly port: number } {
  return tcp({ protocol: 'udp' } as Partial<BindListenerOptions>);
}

const asked = async (target: object): Promise<string> => {
  const request = get({ agent: false, ...target });
  const [response] = await once(request, 'response');
  return text(response);
};

const askedByUdp = async (port: number): Promise<string> => {
  const socket = createSocket('udp4');
  socket.send('?', port, HOST);
  const [answer] = await once(socket, 'message');
  socket.close();
  return String(answer);
};

const named = (fd: number): string => `socket:[${inode(fd)}]`;

describe.runIf(process.platform === 'linux')('G1: a socket that was passed along is served, its queue included', () => {
  it('LISTEN_FDS with LISTEN_PID and LISTEN_FDNAMES: by name, whatever its address', async () => {
    const [web, admin, spare] = [tcp(), tcp(), tcp()];
    // Waits in the queue before anybody runs.
    const early = asked({ host: HOST, port: web.port });
    const env = { LISTEN_FDS: '3', LISTEN_FDNAMES: 'web:admin:spare' };
    const listen = [
      { name: 'admin', port: 1 },
      { name: 'web', port: 2 },
    ];
    const program = await begin([web.fd, admin.fd, spare.fd], env, { own: ['LISTEN_PID'], listen, flags: [3, 4, 5] });
    const { result } = program;
    expect(result).toMatchObject({
      listening: [
        { name: 'admin', origin: 'activated', address: { port: admin.port } },
        { name: 'web', origin: 'activated', address: { port: web.port } },
      ],
      claimed: ['admin', 'web'],
      unclaimed: ['spare'],
      flags: [true, true, true],
      variables: [],
    });
    expect(result.sockets).not.toContain(named(spare.fd));
    expect(await early).toBe(`http ${program.pid}`);
    expect(await asked({ host: HOST, port: admin.port })).toBe(`http ${program.pid}`);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
  });

  it('LISTEN_FDS without LISTEN_PID, as systemfd --no-pid sets it: by address', async () => {
    const [web, dns] = [tcp(), udp()];
    const listen = [{ port: web.port }, { udp: true, port: dns.port, host: HOST }];
    const program = await begin([dns.fd, web.fd], { LISTEN_FDS: '2' }, { listen });
    expect(program.result.listening).toMatchObject([{ origin: 'activated' }, { origin: 'activated' }]);
    expect(await asked({ host: HOST, port: web.port })).toBe(`http ${program.pid}`);
    expect(await askedByUdp(dns.port)).toBe(`udp ${program.pid}`);
    await program.stop();
  });

  it('without names: LISTEN_FD_n', async () => {
    const web = tcp();
    const program = await begin(
      [web.fd],
      { LISTEN_FDS: '1', LISTEN_PID: '' },
      { listen: [{ name: 'LISTEN_FD_3', port: 9 }] },
    );
    expect(program.result.listening).toMatchObject([{ origin: 'activated', address: { port: web.port } }]);
    await program.stop();
  });

  it('a name given twice: each by its address', async () => {
    const [one, two] = [tcp(), tcp()];
    const env = { LISTEN_FDS: '2', LISTEN_FDNAMES: 'app.socket:app.socket' };
    const listen = [{ name: 'app.socket', port: two.port }, { port: one.port }];
    const program = await begin([one.fd, two.fd], env, { own: ['LISTEN_PID'], listen });
    expect(program.result.listening).toMatchObject([{ address: { port: two.port } }, { address: { port: one.port } }]);
    expect(program.result.unclaimed).toEqual([]);
    await program.stop();
  });

  it('a name given twice and an address of neither: the first, and the other is closed and reported', async () => {
    const [one, two] = [tcp(), tcp()];
    const env = { LISTEN_FDS: '2', LISTEN_FDNAMES: 'web:web' };
    const program = await begin([one.fd, two.fd], env, { listen: [{ name: 'web', port: 7 }] });
    expect(program.result).toMatchObject({ listening: [{ address: { port: one.port } }], unclaimed: ['web'] });
    await program.stop();
  });

  it('bare LISTEN_FD=3, alone and beside LISTEN_FDS that means the same', async () => {
    for (const env of [{ LISTEN_FD: '3' }, { LISTEN_FD: '3', LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' }]) {
      const web = tcp();
      const program = await begin([web.fd], env, { listen: [{ host: HOST, port: web.port }] });
      expect(program.result).toMatchObject({ listening: [{ origin: 'activated' }], unclaimed: [], variables: [] });
      expect(await asked({ host: HOST, port: web.port })).toBe(`http ${program.pid}`);
      await program.stop();
    }
  });

  it('SERVER_STARTER_PORT: host:port, port and path, each with its descriptor', async () => {
    const path = join(temporaryFolder(), 'a=b.sock');
    const [one, any] = [tcp(), tcp({ host: '0.0.0.0' } as Partial<BindListenerOptions>)];
    const unix = own(bindListener({ path }));
    const env = {
      SERVER_STARTER_PORT: `${HOST}:${one.port}=4;${any.port}=3;${path}=5`,
      SERVER_STARTER_GENERATION: '1',
    };
    const listen = [{ host: HOST, port: one.port }, { port: any.port }, { path }];
    const program = await begin([any.fd, one.fd, unix], env, { listen });
    expect(program.result).toMatchObject({
      listening: [{ address: { port: one.port } }, { address: { port: any.port } }, { address: path }],
      unclaimed: [],
      variables: ['SERVER_STARTER_GENERATION'],
    });
    expect(await asked({ socketPath: path })).toBe(`http ${program.pid}`);
    await program.stop();
    // It was start_server's to make and is its to remove.
    expect(describeFd(unix).socket?.listening).toBe(true);
    const still = connect(path);
    await once(still, 'connect');
    still.destroy();
  });

  it('EINHORN_FD_COUNT and EINHORN_FD_n, with the families', async () => {
    const [one, two] = [tcp(), tcp()];
    const env = { EINHORN_FD_COUNT: '2', EINHORN_FD_0: '4', EINHORN_FD_1: '3', EINHORN_FD_FAMILY_0: 'AF_INET' };
    const listen = [{ name: 'EINHORN_FD_0', port: 5 }, { port: one.port }];
    const program = await begin([one.fd, two.fd], env, { own: ['EINHORN_MASTER_PID'], listen });
    expect(program.result).toMatchObject({
      listening: [{ address: { port: two.port } }, { address: { port: one.port } }],
      variables: ['EINHORN_MASTER_PID'],
    });
    await program.stop();
  });

  it('EINHORN_FDS, a list with spaces', async () => {
    const [one, two] = [tcp(), tcp()];
    const listen = [{ port: two.port }, { port: one.port }];
    const program = await begin([one.fd, two.fd], { EINHORN_FDS: '3 4' }, { listen });
    expect(program.result).toMatchObject({
      listening: [{ origin: 'activated' }, { origin: 'activated' }],
      variables: [],
    });
    await program.stop();
  });

  it('abstract names, and a port whose host the app does not name', async () => {
    const name = `handover-test-${process.pid}`;
    const [abstract, web] = [own(bindListener({ abstract: name })), tcp()];
    const listen = [{ abstract: name }, { port: web.port }];
    const program = await begin([abstract, web.fd], { LISTEN_FDS: '2' }, { listen });
    expect(program.result.listening).toMatchObject([{ origin: 'activated' }, { origin: 'activated' }]);
    await program.stop();
  });

  it('what this package stored: the listener it was, also one whose port the kernel chose', async () => {
    const [web, old] = [tcp(), tcp()];
    const storeName = (port: number): string => storeNameOf({ name: 'web', address: `tcp://${HOST}:${port}` }) ?? '';
    const env = { LISTEN_FDS: '2', LISTEN_FDNAMES: `${storeName(1)}:${storeName(0)}` };
    const listen = [{ name: 'web', host: HOST, port: 0 }];
    const program = await begin([old.fd, web.fd], env, { own: ['LISTEN_PID'], listen });
    expect(program.result).toMatchObject({
      listening: [{ origin: 'activated', address: { port: web.port } }],
      unclaimed: ['web'],
    });
    await program.stop();
  });

  it('what is no listener is for inherited(), where the supervisor named this process', async () => {
    const [left] = pair();
    const env = { LISTEN_FDS: '1', LISTEN_FDNAMES: 'session' };
    const program = await begin([left], env, { own: ['LISTEN_PID'], inherited: ['session', 'other'] });
    expect(program.result).toMatchObject({ inherited: [true, false], unclaimed: [] });
    await program.stop();
  });
});

describe.runIf(process.platform === 'linux')('what is not for this process is left alone', () => {
  it('another LISTEN_PID: the variables stay, and so do the descriptors, inheritable', async () => {
    const web = tcp();
    const env = { LISTEN_FDS: '1', LISTEN_PID: '1', LISTEN_FD: '3' };
    const program = await begin([web.fd], env, { listen: [{ host: HOST, port: 0 }], flags: [3] });
    expect(program.result).toMatchObject({
      listening: [{ origin: 'bound' }],
      flags: [false],
      variables: expect.arrayContaining(['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FD']),
    });
    expect(program.result.sockets).toContain(named(web.fd));
    await program.stop();
  });

  it.runIf(hasLinuxFloor)('another LISTEN_PIDFDID with the right LISTEN_PID', async () => {
    const web = tcp();
    const env = { LISTEN_FDS: '1', LISTEN_PIDFDID: '1' };
    const program = await begin([web.fd], env, { own: ['LISTEN_PID'], listen: [{ host: HOST, port: 0 }] });
    expect(program.result).toMatchObject({
      listening: [{ origin: 'bound' }],
      variables: expect.arrayContaining(['LISTEN_PIDFDID']),
    });
    await program.stop();
  });

  it('einhorn variables of a grandparent', async () => {
    const web = tcp();
    const env = { EINHORN_FD_COUNT: '1', EINHORN_FD_0: '3', EINHORN_MASTER_PID: '1' };
    const program = await begin([web.fd], env, { listen: [{ host: HOST, port: 0 }] });
    expect(program.result).toMatchObject({
      listening: [{ origin: 'bound' }],
      variables: expect.arrayContaining(['EINHORN_FD_0']),
    });
    await program.stop();
  });
});

it.runIf(process.platform === 'linux')(
  'G6: a successor has the socket by handover and never sees the variables',
  async () => {
    const web = tcp();
    const env = { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' };
    const plan = { own: ['LISTEN_PID'], listen: [{ name: 'web', port: 1 }], upgrade: true } as const;
    const program = start(FIXTURE, { args: [JSON.stringify(plan)], fds: [web.fd], env });
    const first = await program.message<Result>('result');
    expect(first).toMatchObject({ generation: 1, listening: [{ origin: 'activated' }] });
    const second = await program.message<Result>('result');
    // The fixture gives its successor what it was started with itself; and sets LISTEN_PID before it opens.
    expect(second).toMatchObject({
      generation: 2,
      listening: [{ origin: 'inherited', address: { port: web.port } }],
      variables: [],
      initial: [],
    });
    const successor = follow(second.pid);
    await program.exit();
    expect(await asked({ host: HOST, port: web.port })).toBe(`http ${second.pid}`);
    successor.signal('SIGTERM');
    await successor.gone();
  },
);

describe.runIf(process.platform === 'linux')('refused with the variable and its value, and nothing is touched', () => {
  const refusals: readonly [string, Record<string, string>, RegExp, Plan?][] = [
    ['a count that is none', { LISTEN_FDS: 'two' }, /^LISTEN_FDS=two: "two" is not a whole number/],
    ['a negative count', { LISTEN_FDS: '-1' }, /^LISTEN_FDS=-1: /],
    ['an absurd count', { LISTEN_FDS: '99999999999' }, /^LISTEN_FDS=99999999999: /],
    ['more than there are', { LISTEN_FDS: '900' }, /^LISTEN_FDS=900: descriptor \d+ is /],
    [
      'one more than there are',
      { LISTEN_FDS: '2' },
      /^LISTEN_FDS=2: descriptor 4 is no socket/,
      { own: ['LISTEN_PID'] },
    ],
    ['a pid that is none', { LISTEN_FDS: '1', LISTEN_PID: 'me' }, /^LISTEN_PID=me: /],
    ['a pidfd that is none', { LISTEN_FDS: '1', LISTEN_PIDFDID: 'x' }, /^LISTEN_PIDFDID=x: /],
    [
      'more names than descriptors',
      { LISTEN_FDS: '1', LISTEN_FDNAMES: 'a:b' },
      /^LISTEN_FDNAMES=a:b: 2 names for 1 descriptors/,
    ],
    ['a descriptor that is not open', { LISTEN_FD: '999' }, /^LISTEN_FD=999: descriptor 999 is not open/],
    [
      'an address without a descriptor',
      { SERVER_STARTER_PORT: '8080' },
      /^SERVER_STARTER_PORT=8080: "8080" is not of the form/,
    ],
    [
      'a descriptor einhorn does not name',
      { EINHORN_FD_COUNT: '2', EINHORN_FD_0: '3' },
      /^EINHORN_FD_COUNT=2: EINHORN_FD_1 is not set/,
    ],
    ['a descriptor einhorn misnames', { EINHORN_FD_COUNT: '1', EINHORN_FD_0: 'three' }, /^EINHORN_FD_0=three: /],
  ];
  it.each(refusals)('%s', async (_, env, message, plan = {}) => {
    const web = tcp();
    const result = await refused([web.fd], env, plan);
    expect(result.error).toMatchObject({
      name: 'HandoverError',
      code: 'ERR_HANDOVER_ACTIVATION',
      message: expect.stringMatching(message),
    });
    expect(result.sockets).toContain(named(web.fd));
    expect(result.variables).toEqual(expect.arrayContaining(Object.keys(env)));
  });

  const strangers: readonly [string, () => number, RegExp][] = [
    ['a file', () => own(openSync('/dev/null', 'r')), /^LISTEN_FD=3: descriptor 3 is a character, not a listener/],
    ['a connected socket', () => pair()[0], /^LISTEN_FD=3: descriptor 3 is a unix stream socket that does not listen/],
    ['a connected datagram socket', () => pair('dgram')[0], /^LISTEN_FD=3: descriptor 3 is a unix dgram socket/],
  ];
  it.each(strangers)('%s where a listener is announced', async (_, open, message) => {
    const result = await refused([open()], { LISTEN_FD: '3' }, {});
    expect(result.error).toMatchObject({ code: 'ERR_HANDOVER_ACTIVATION', message: expect.stringMatching(message) });
  });

  it('a UDP socket under the name of an HTTP server', async () => {
    const dns = udp();
    const env = { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' };
    const result = await refused([dns.fd], env, { listen: [{ name: 'web', port: 80 }] });
    expect(result.error?.message).toMatch(
      /^LISTEN_FDS=1: "web", descriptor 3, is no stream listener, which tcp:\/\/\*:80 asks for/,
    );
  });
});

test('each descriptor is announced once, by the first that names it', () => {
  const reader = { pid: 5, parentPid: 1, isOwnPidfd: () => true };
  const { announced, variables } = readConventions(
    { LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:', LISTEN_FD: '4', OTHER: 'x' },
    reader,
  );
  expect(announced.map(({ fd, name }) => [fd, name])).toEqual([
    [3, 'a'],
    [4, 'LISTEN_FD_4'],
  ]);
  expect(variables).toEqual(expect.arrayContaining(['LISTEN_FDS', 'LISTEN_FD']));
});

test('a malformed value is an error of this package that says nothing serves', () => {
  const reader = { pid: 5, parentPid: 1, isOwnPidfd: () => true };
  expect(thrownBy(() => readConventions({ LISTEN_FDS: '1.5' }, reader))).toMatchObject({
    code: 'ERR_HANDOVER_ACTIVATION',
    stillServing: false,
  });
});

describe('the name under which a service manager keeps a listener', () => {
  test.each([
    ['web', 'tcp://*:8080'],
    ['tcp://[::1]:80', 'tcp://[::1]:80'],
    ['a;b %:', 'unix:/run/ä/b c.sock'],
  ])('carries the name %s and its address', (name, address) => {
    const storeName = storeNameOf({ name, address }) ?? '';
    expect(storeName).toMatch(/^[!-9;-~]+$/);
    expect(parseStoreName(storeName)).toEqual({ storeName, name, address });
  });

  test('is not given where systemd would not take it', () => {
    expect(storeNameOf({ name: 'x'.repeat(255), address: 'tcp://*:1' })).toBeUndefined();
  });

  test.each(['web', 'handover;web', 'handover;a;b;c', 'handover;%;b'])('is not read into %s', (text) => {
    expect(parseStoreName(text)).toBeUndefined();
  });
});
