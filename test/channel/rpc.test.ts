// Calls over a real socketpair, with real descriptors: answers, errors, events, and peers that are gone or no peers.
import { describe, expect, onTestFinished, test } from 'vitest';
import { HandoverError } from '../../lib/errors.js';
import { dupFd, FdSocket } from '../../lib/fd/index.js';
import { type Handler, isPeerLost, type Params, Rpc, type RpcHandlers } from '../../lib/protocol/rpc.js';
import { close, closedFd, disown, fillTable, inode, isAtEnd, ownAll, pair, plain, rejectionOf } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { rawFrame } from './frames.js';

expectNoLeaks();

const RPC_TYPE = 0x40;
const NONE: RpcHandlers = { calls: {} };

/** A caller and the side that answers. */
function rpcs(calls: Record<string, Handler>, caller: RpcHandlers = NONE): { here: Rpc; there: Rpc } {
  const [left, right] = FdSocket.pair();
  const here = new Rpc(left, caller);
  const there = new Rpc(right, { calls });
  onTestFinished(async () => {
    here.close();
    there.close();
    await Promise.all([here.closed, there.closed]);
  });
  return { here, there };
}

/** One that answers, and the bare socket of who talks to it. */
function bare(handlers: RpcHandlers): { rpc: Rpc; peer: FdSocket } {
  const [left, right] = FdSocket.pair();
  const rpc = new Rpc(left, handlers);
  onTestFinished(() => {
    rpc.close();
    right.close();
  });
  return { rpc, peer: right };
}

/** To be given away. */
function copies(fd: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => dupFd(fd));
}

/** Opens a promise and keeps what settles it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

describe('a call', () => {
  test('is answered with values and descriptors, which are given away', async () => {
    const [file] = pair();
    const given = copies(file, 2);
    const { here } = rpcs({ echo: ({ params, fds }) => ({ params: { ...params, got: fds.length }, fds }) });
    const { params, fds } = await here.call('echo', { a: [1, 'zwölf', null] }, given);
    ownAll(fds);
    expect(params).toEqual({ a: [1, 'zwölf', null], got: 2 });
    expect([...fds].map(inode)).toEqual([inode(file), inode(file)]);
  });

  test('goes either way, at once, and is answered in the order the answers are ready', async () => {
    const slow = gate();
    const order: string[] = [];
    const calls = (name: string): Record<string, Handler> => ({
      slow: async () => {
        await slow.opened;
        return { params: { from: name } };
      },
      fast: () => ({ params: { from: name } }),
    });
    const { here, there } = rpcs(calls('there'), { calls: calls('here') });
    const all = (['slow', 'fast'] as const).flatMap((method) =>
      [here, there].map(async (rpc) => {
        const { params } = await rpc.call(method);
        order.push(`${method} ${params.from}`);
        if (order.length === 2) slow.open();
      }),
    );
    await Promise.all(all);
    expect(order.map((line) => line.split(' ')[0])).toEqual(['fast', 'fast', 'slow', 'slow']);
    expect(order.slice(0, 2).sort()).toEqual(['fast here', 'fast there']);
  });

  test('of a thousand, each gets its own answer', async () => {
    const { here } = rpcs({ double: ({ params }) => ({ params: { value: Number(params.value) * 2 } }) });
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, value) => here.call('double', { value })));
    expect(answers.map(({ params }) => params.value)).toEqual(answers.map((_, value) => value * 2));
  });

  test('with more than the socket holds at once comes through whole', async () => {
    const { here } = rpcs({ length: ({ params }) => ({ params: { length: String(params.text).length } }) });
    const { params } = await here.call('length', { text: 'x'.repeat(3_000_000) });
    expect(params).toEqual({ length: 3_000_000 });
  });

  test('without an answer of its own is answered with nothing', async () => {
    const { here } = rpcs({ quiet: () => undefined });
    expect((await here.call('quiet')).params).toEqual({});
  });
});

describe('G8: what fails there rejects here', () => {
  const failing = (error: unknown): Record<string, Handler> => ({
    fail: async () => {
      throw error;
    },
  });

  test('as a HandoverError with its code and details', async () => {
    const details = {
      phase: 'COMMIT',
      stillServing: false,
      stderr: 'boom',
      exitCode: null,
      exitSignal: 'SIGKILL',
    } as const;
    const { here } = rpcs(failing(new HandoverError('ERR_HANDOVER_TIMEOUT', 'too late', details)));
    const error = await here.call('fail').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HandoverError);
    expect(plain(error)).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', message: 'too late', ...details });
  });

  test('as an error in Node’s own shape', async () => {
    const refused = Object.assign(new Error('bind EACCES'), { code: 'EACCES', errno: -13, syscall: 'bind', port: 80 });
    const { here } = rpcs(failing(refused));
    const error = await rejectionOf(here.call('fail'));
    expect(error).toMatchObject({ class: 'Error', message: 'bind EACCES', code: 'EACCES', errno: -13, port: 80 });
  });

  test('also where it is no error, and where its code is of a newer version', async () => {
    const { here } = rpcs(failing('just a text'));
    expect(await rejectionOf(here.call('fail'))).toMatchObject({ message: 'just a text' });
    const newer = Object.assign(new Error('tomorrow'), { code: 'ERR_HANDOVER_OF_TOMORROW' });
    const { here: other } = rpcs(failing(newer));
    expect(await rejectionOf(other.call('fail'))).toMatchObject({ class: 'Error', code: 'ERR_HANDOVER_OF_TOMORROW' });
  });

  test.each(['unknown', 'toString', '__proto__'])('a method it does not know: %s', async (method) => {
    const [passed, other] = pair();
    const { here } = rpcs({});
    const call = here.call(method, {}, Int32Array.of(disown(passed)));
    expect(await rejectionOf(call)).toMatchObject({
      code: 'ERR_HANDOVER_UNKNOWN_COMMAND',
      message: expect.stringContaining(`"${method}"`),
    });
    expect(isAtEnd(other)).toBe(true);
  });

  test('an answer that cannot be sent: its descriptor is closed', async () => {
    const { here } = rpcs({ bad: () => ({ fds: Int32Array.of(closedFd()) }) });
    expect(await rejectionOf(here.call('bad'))).toMatchObject({ code: 'EBADF' });
    expect(await rejectionOf(here.call('unknown'))).toMatchObject({ code: 'ERR_HANDOVER_UNKNOWN_COMMAND' });
  });
});

describe('a call that cannot be sent', () => {
  test('for a closed descriptor rejects, and the next one is answered', async () => {
    const { here } = rpcs({ hello: () => ({ params: { hello: true } }) });
    expect(await rejectionOf(here.call('hello', {}, Int32Array.of(closedFd())))).toMatchObject({ code: 'EBADF' });
    expect((await here.call('hello')).params).toEqual({ hello: true });
  });

  test('for more descriptors than a message carries rejects', async () => {
    const [file] = pair();
    const { here } = rpcs({ hello: () => undefined });
    for (const count of [254, 2_000]) {
      const rejection = await rejectionOf(here.call('hello', {}, copies(file, count)));
      expect(rejection).toMatchObject({ class: 'RangeError' });
    }
  });
});

describe('the end of the other side', () => {
  test('rejects every call under way, and every call after it', async () => {
    const { here, there } = rpcs({ never: () => new Promise(() => {}) });
    const both = [here.call('never'), here.call('never')];
    there.close();
    for (const call of both) expect(isPeerLost(await call.catch((reason: unknown) => reason))).toBe(true);
    await here.closed;
    expect(await rejectionOf(here.call('never'))).toMatchObject({ code: 'ERR_HANDOVER_PEER_LOST' });
  });

  test('on this side, too', async () => {
    const { here, there } = rpcs({ never: () => new Promise(() => {}) });
    const call = here.call('never');
    here.close();
    expect(await rejectionOf(call)).toMatchObject({ code: 'ERR_HANDOVER_PEER_LOST' });
    await Promise.all([here.closed, there.closed]);
  });

  test('while it works on an answer: what it answers goes nowhere, and hurts nobody', async () => {
    const { opened, open } = gate();
    const started = gate();
    const { here, there } = rpcs({
      slow: async () => {
        started.open();
        await opened;
        return { params: { late: true } };
      },
    });
    const call = rejectionOf(here.call('slow'));
    await started.opened;
    here.close();
    await there.closed;
    open();
    expect(await call).toMatchObject({ code: 'ERR_HANDOVER_PEER_LOST' });
  });
});

describe('G7: no descriptor is left', () => {
  test.each([
    ['of another protocol', rawFrame(1, '{}', 1)],
    ['that is no JSON', rawFrame(RPC_TYPE, '{', 1)],
    ['that is no object', rawFrame(RPC_TYPE, 'null', 1)],
    ['that is neither call, answer nor event', rawFrame(RPC_TYPE, '{}', 1)],
    ['that answers what nobody asked', rawFrame(RPC_TYPE, '{"answer":7}', 1)],
    ['that brings descriptors with an error', rawFrame(RPC_TYPE, '{"answer":1,"error":{"message":"no"}}', 1)],
    ['that never ends', rawFrame(RPC_TYPE, '{}', 1, 100)],
  ])('by a message %s', async (_, bytes) => {
    const [passed, other] = pair();
    const { rpc, peer } = bare(NONE);
    await peer.send(bytes, [passed]);
    close(passed);
    peer.close();
    await rpc.closed;
    expect(isAtEnd(other)).toBe(true);
  });

  test('where the descriptor table is full', async () => {
    const [passed, other] = pair();
    const { rpc, peer } = bare({ calls: { take: ({ fds }) => void ownAll(fds) } });
    const empty = fillTable(0);
    await peer.send(rawFrame(RPC_TYPE, '{"call":1,"method":"take"}', 1), [passed]);
    await rpc.closed;
    empty();
    close(passed);
    expect(isAtEnd(other)).toBe(true);
  });
});

describe('an event', () => {
  test('comes in its order among the answers; without a listener it is passed over', async () => {
    const heard: [string, Params][] = [];
    const { here, there } = rpcs({}, { calls: {}, onEvent: (name, params) => heard.push([name, params]) });
    const { here: caller } = rpcs({ work: () => undefined });
    there.tell('phase', { phase: 'PREPARE' });
    there.tell('phase', { phase: 'COMMIT' });
    await expect(there.call('nothing')).rejects.toThrow('does not know');
    expect(heard).toEqual([
      ['phase', { phase: 'PREPARE' }],
      ['phase', { phase: 'COMMIT' }],
    ]);
    here.tell('nobody listens', {});
    caller.tell('nobody listens');
    await caller.call('work');
  });

  test('to nobody is lost', async () => {
    const { here, there } = rpcs({});
    there.close();
    await here.closed;
    here.tell('too late');
  });
});
