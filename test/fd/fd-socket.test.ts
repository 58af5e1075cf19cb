// FdSocket: order, back-pressure, no descriptor lost or left, and every way it ends.
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  closeFd,
  closeFds,
  describeFd,
  dup3,
  dupFd,
  FdSocket,
  type Received,
  recvFds,
  sendFds,
  socketpair,
} from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import {
  byte,
  close,
  closedFd,
  disown,
  fillTable,
  inode,
  isAtEnd,
  onLinux,
  own,
  ownAll,
  pair,
  plain,
  rangeRefusal,
  refusal,
  rejectionOf,
  thrownBy,
  typeRefusal,
} from './sandbox.js';

expectNoLeaks();
const { start } = usePrograms();

/** Both closed when the test ends. */
function sockets(): [FdSocket, FdSocket] {
  const both = FdSocket.pair();
  onTestFinished(() => {
    for (const socket of both) socket.close();
  });
  return both;
}

/** A socket and the raw other end of it. */
function halfRaw(): { socket: FdSocket; raw: number } {
  const [fd, raw] = pair();
  const socket = new FdSocket(disown(fd));
  onTestFinished(() => socket.close());
  return { socket, raw };
}

/** Sends until the socket takes no more; the last send waits. */
async function fill(socket: FdSocket): Promise<{ readonly waiting: Promise<void> }> {
  for (;;) {
    const state = { sent: false };
    const waiting = socket.send(Buffer.alloc(65_536));
    const noted = waiting.then(
      () => {
        state.sent = true;
      },
      () => {},
    );
    await Promise.race([noted, nextTurn()]);
    if (!state.sent) return { waiting };
  }
}

async function readAll(socket: FdSocket, take: (received: Received) => void): Promise<void> {
  for await (const received of socket) take(received);
}

/** Reads once; whether nothing was there. */
function isEmpty(fd: number): boolean {
  return thrownBy(() => recvFds(fd)).code === 'EAGAIN';
}

/** How much of 50 ms the loop is busy: an armed poller with nobody to serve keeps it at 1. */
async function utilization(): Promise<number> {
  const before = performance.eventLoopUtilization();
  await new Promise((resolve) => setTimeout(resolve, 50));
  return performance.eventLoopUtilization(before).utilization;
}

describe('sending and receiving', () => {
  test('bytes and descriptors arrive in the order of the calls', async () => {
    const [left, right] = sockets();
    const files = Array.from({ length: 20 }, () => pair()[0]);
    const sends = files.map((file, i) => left.send(Buffer.from(`${i};`), [file]));
    await Promise.all(sends);
    left.close();
    let text = '';
    const inodes: bigint[] = [];
    await readAll(right, ({ bytes, fds }) => {
      text += bytes.toString();
      inodes.push(...ownAll(fds).map(inode));
    });
    expect(text).toBe(files.map((_, i) => `${i};`).join(''));
    expect(inodes).toEqual(files.map(inode));
  });

  test('a large send resolves only when the other side has read so much that the kernel has taken the rest', async () => {
    const [left, right] = sockets();
    const message = Buffer.alloc(4 << 20, 'abcdefgh');
    const state = { sent: false };
    const sending = left.send(message).then(() => {
      state.sent = true;
    });
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect(state.sent).toBe(false);
    const parts: Buffer[] = [];
    let length = 0;
    while (length < message.length) {
      // 4 MiB do not fit into any buffer: half of it read, the rest cannot all be with the kernel.
      if (length < message.length / 2) expect(state.sent).toBe(false);
      const { bytes } = (await right.receive()) as Received;
      parts.push(bytes);
      length += bytes.length;
    }
    await sending;
    expect(Buffer.concat(parts).equals(message)).toBe(true);
  });

  test('behind a full buffer every send waits its turn, and no descriptor is lost or doubled', async () => {
    const [left, right] = sockets();
    const { waiting } = await fill(left);
    const files = Array.from({ length: 50 }, () => pair()[0]);
    const sends = files.map((file, i) => left.send(Buffer.alloc(9_000, i), [file, file]));
    const state = { sent: 0 };
    for (const sending of sends) void sending.then(() => state.sent++);
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect(state.sent).toBe(0);
    const inodes: bigint[] = [];
    const reading = readAll(right, ({ fds }) => inodes.push(...ownAll(fds).map(inode)));
    await Promise.all([waiting, ...sends]);
    left.close();
    await reading;
    expect(inodes).toEqual(files.flatMap((file) => [inode(file), inode(file)]));
  });

  test('the descriptors of a message that goes in parts go once', async () => {
    const [left, right] = sockets();
    const sending = left.send(Buffer.alloc(2 << 20), [2, 2, 2]);
    let length = 0;
    let count = 0;
    const reading = readAll(right, ({ bytes, fds }) => {
      length += bytes.length;
      count += ownAll(fds).length;
    });
    await sending;
    left.close();
    await reading;
    expect([length, count]).toEqual([2 << 20, 3]);
  });

  test('a send does not overtake those that wait, although there is room by now', async () => {
    const { socket, raw } = halfRaw();
    const { waiting } = await fill(socket);
    const first = socket.send(Buffer.from('1'));
    while (!isEmpty(raw));
    const second = socket.send(Buffer.from('2'));
    const reader = new FdSocket(disown(raw));
    let text = '';
    const reading = readAll(reader, ({ bytes }) => {
      text += bytes.toString().replaceAll('\0', '');
    });
    await Promise.all([waiting, first, second]);
    socket.close();
    await reading;
    reader.close();
    expect(text).toBe('12');
  });

  test('once a send has resolved its descriptors may be closed: the kernel holds them', async () => {
    const [left, right] = sockets();
    const [passed, other] = pair();
    await left.send(byte, [passed]);
    close(passed);
    expect(isAtEnd(other)).toBe(false);
    const { fds } = (await right.receive()) as Received;
    sendFds(other, Buffer.from('through'), []);
    expect(recvFds(own(fds[0] as number)).bytes.toString()).toBe('through');
  });

  test('a send that fails is the only one that does: those before and after it arrive', async () => {
    const { socket, raw } = halfRaw();
    const { waiting } = await fill(socket);
    const closed = closedFd();
    const sends = [socket.send(Buffer.from('before')), socket.send(byte, [closed]), socket.send(Buffer.from('after'))];
    const results = Promise.allSettled(sends);
    const reader = new FdSocket(disown(raw));
    let text = '';
    const reading = readAll(reader, ({ bytes }) => {
      text += bytes.toString().replaceAll('\0', '');
    });
    expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await rejectionOf(sends[1] as Promise<void>)).toEqual(refusal('EBADF', 'sendmsg', { fd: socket.fd }));
    await waiting;
    socket.close();
    await reading;
    reader.close();
    expect(text).toBe('beforeafter');
  });

  test('1,000 rounds with 8 descriptors leave as many open as there were', async () => {
    const [left, right] = sockets();
    const before = openDescriptors().size;
    const eight = Array<number>(8).fill(left.fd);
    let arrived = 0;
    const reading = (async () => {
      while (arrived < 8_000) {
        const { fds } = (await right.receive()) as Received;
        arrived += fds.length;
        closeFds(fds);
      }
    })();
    for (let round = 0; round < 1_000; round++) await left.send(byte, eight);
    await reading;
    expect(arrived).toBe(8_000);
    expect(openDescriptors().size).toBe(before);
  });

  test('what waits unread costs no turn of the loop', async () => {
    const [left, right] = sockets();
    await left.send(Buffer.from('read'));
    await right.receive();
    await left.send(Buffer.from('not read'));
    expect(await utilization()).toBeLessThan(0.5);
  });

  test('a full socket costs no turn of the loop', async () => {
    const [left, right] = sockets();
    const { waiting } = await fill(left);
    expect(await utilization()).toBeLessThan(0.5);
    right.close();
    expect(await rejectionOf(waiting)).toMatchObject({ code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/) });
  });
});

describe('nothing is read before somebody asks', () => {
  test('what nobody took is closed when the socket is', async () => {
    const [left, right] = sockets();
    const [passed, other] = pair();
    await left.send(byte, [passed]);
    close(passed);
    await nextTurn();
    expect(isAtEnd(other)).toBe(false);
    right.close();
    expect(isAtEnd(other)).toBe(true);
  });

  test('one receive takes one reception, the rest waits in the kernel', async () => {
    const [left, right] = sockets();
    const [passed, other] = pair();
    await left.send(Buffer.from('first'), [left.fd]);
    await left.send(Buffer.from('second'), [passed]);
    close(passed);
    const first = (await right.receive()) as Received;
    ownAll(first.fds);
    expect([first.bytes.toString(), first.fds.length]).toEqual(['first', 1]);
    await nextTurn();
    right.close();
    expect(isAtEnd(other)).toBe(true);
  });

  test('leaving the loop leaves the socket open and takes nothing more', async () => {
    const [left, right] = sockets();
    await left.send(Buffer.from('1'));
    for await (const { bytes } of right) {
      expect(bytes.toString()).toBe('1');
      break;
    }
    expect(right.closed).toBe(false);
    await left.send(Buffer.from('2'));
    expect((await right.receive())?.bytes.toString()).toBe('2');
  });

  test('a second receive at the same time is refused, the first goes on', async () => {
    const [left, right] = sockets();
    const first = right.receive();
    expect(await rejectionOf(right.receive())).toEqual({
      class: 'Error',
      message: 'receive() is already waiting',
      code: 'ERR_INVALID_STATE',
    });
    await left.send(byte);
    expect((await first)?.bytes.toString()).toBe('x');
  });
});

describe('how it ends', () => {
  test('the other side has closed: undefined, each time; sending is EPIPE', async () => {
    const [left, right] = sockets();
    await left.send(Buffer.from('last'));
    left.close();
    expect((await right.receive())?.bytes.toString()).toBe('last');
    expect(await right.receive()).toBeUndefined();
    expect(await right.receive()).toBeUndefined();
    expect(await rejectionOf(right.send(byte))).toEqual(refusal('EPIPE', 'sendmsg', { fd: right.fd }));
  });

  test('the other side closes while a receive waits', async () => {
    const [left, right] = sockets();
    const waiting = right.receive();
    left.close();
    expect(await waiting).toBeUndefined();
  });

  test.runIf(onLinux)(
    'the other side closed with bytes of ours unread: ECONNRESET after its own, then the end',
    async () => {
      const [left, right] = sockets();
      await right.send(Buffer.from('never read'));
      await left.send(Buffer.from('last words'));
      left.close();
      expect((await right.receive())?.bytes.toString()).toBe('last words');
      expect(await rejectionOf(right.receive())).toEqual(refusal('ECONNRESET', 'recvmsg', { fd: right.fd }));
      expect(await right.receive()).toBeUndefined();
    },
  );

  test('the other side closes over a full buffer: every waiting send rejects', async () => {
    const [left, right] = sockets();
    const sends = [(await fill(left)).waiting, left.send(byte, [left.fd]), left.send(byte)];
    const results = Promise.allSettled(sends);
    right.close();
    for (const result of await results) {
      expect(result.status === 'rejected' && plain(result.reason)).toMatchObject({
        code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/),
        syscall: 'sendmsg',
      });
    }
  });

  test('close() closes the descriptor, rejects waiting sends with ECANCELED, resolves a waiting receive', async () => {
    const { socket, raw } = halfRaw();
    const { fd } = socket;
    const sends = [(await fill(socket)).waiting, socket.send(byte, [fd])];
    const receiving = socket.receive();
    const results = sends.map(rejectionOf);
    socket.close();
    expect(await receiving).toBeUndefined();
    for (const result of results) expect(await result).toEqual(refusal('ECANCELED', 'sendmsg', { fd }));
    expect(socket.closed).toBe(true);
    expect(thrownBy(() => describeFd(fd))).toMatchObject({ code: 'EBADF' });
    socket.close();
    expect(await socket.receive()).toBeUndefined();
    expect(await rejectionOf(socket.send(byte))).toEqual(refusal('ECANCELED', 'sendmsg', { fd }));
    // What the kernel had taken is still delivered.
    expect(recvFds(raw).bytes.length).toBeGreaterThan(0);
  });

  test('it is disposable', () => {
    const [left, right] = FdSocket.pair();
    left[Symbol.dispose]();
    right[Symbol.dispose]();
    expect([left.closed, right.closed]).toEqual([true, true]);
  });

  test.runIf(onLinux)(
    'K3: a full table while receiving is ENOBUFS, nothing stays open, and the stream goes on',
    async () => {
      const [left, right] = sockets();
      const [passed, other] = pair();
      await left.send(byte, Array(10).fill(passed));
      await left.send(Buffer.from('next'));
      close(passed);
      const empty = fillTable(3);
      let error: unknown;
      try {
        error = await rejectionOf(right.receive());
      } finally {
        empty();
      }
      expect(error).toEqual({ ...refusal('ENOBUFS', 'recvmsg', { fd: right.fd }), bytes: byte });
      expect(isAtEnd(other)).toBe(true);
      expect((await right.receive())?.bytes.toString()).toBe('next');
    },
  );
});

describe('nobody closes it', () => {
  const collected = new URL('fixtures/collected.mjs', import.meta.url);

  test('collected, it gives its descriptor back, and the first says so', async () => {
    const program = start(collected, { execArgv: ['--expose-gc'], args: ['dropped'] });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect(program.stdout).toBe('20 pairs: 0 descriptors left\n');
    expect(program.stderr.match(/HANDOVER_UNCLOSED_FD_SOCKET/g)).toHaveLength(1);
  });

  test('one that somebody waits for is not collected', async () => {
    const program = start(collected, { execArgv: ['--expose-gc'], args: ['waiting'] });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect([program.stdout, program.stderr]).toEqual(['received x, sent 4194304\n', '']);
  });

  test('a worker that is terminated leaves none', async () => {
    const before = openDescriptors().size;
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(new URL('fixtures/worker-holds.mjs', import.meta.url));
      await once(worker, 'message');
      await worker.terminate();
    }
    expect(openDescriptors().size).toBe(before);
  });
});

describe('two want one descriptor', () => {
  test('a second FdSocket of it is refused, and the first goes on', async () => {
    const [left, right] = sockets();
    expect(thrownBy(() => new FdSocket(right.fd))).toEqual(refusal('EEXIST', 'uv_poll_init', { fd: right.fd }));
    await left.send(byte);
    expect((await right.receive())?.bytes.toString()).toBe('x');
    const fd = own(dupFd(right.fd));
    right.close();
    new FdSocket(disown(fd)).close();
  });

  test('closing it in any other way of this package is refused', async () => {
    const [left, right] = sockets();
    const [mine] = pair();
    const message = `descriptor ${right.fd} belongs to an FdSocket: call its close()`;
    const refused = { class: 'Error', code: 'ERR_INVALID_STATE', message, fd: right.fd };
    expect(thrownBy(() => closeFd(right.fd))).toEqual(refused);
    expect(thrownBy(() => closeFds([mine, right.fd]))).toEqual(refused);
    expect(thrownBy(() => dup3(mine, right.fd))).toEqual(refused);
    expect(describeFd(mine).kind).toBe('socket');
    await left.send(byte);
    expect((await right.receive())?.bytes.toString()).toBe('x');
  });

  test('closed behind its back, it refuses with EBADF, and closes no stranger that has the number by then', async () => {
    const [, right] = sockets();
    const { fd } = right;
    closeSync(fd);
    expect(await rejectionOf(right.receive())).toEqual(refusal('EBADF', 'uv_poll_start', { fd }));
    const stranger = own(openSync('/dev/null', 'r'));
    expect(stranger).toBe(fd);
    expect(await rejectionOf(right.receive())).toEqual(refusal('EBADF', 'uv_poll_start', { fd }));
    right.close();
    expect(describeFd(stranger).kind).not.toBe('socket');
  });

  test('a number that was closed behind an FdSocket can be another one’s', async () => {
    const [, right] = sockets();
    closeSync(right.fd);
    const [a, b] = pair();
    expect([a, b]).toContain(right.fd);
    const again = new FdSocket(disown(right.fd));
    right.close();
    sendFds(a === again.fd ? b : a, byte, []);
    expect((await again.receive())?.bytes.toString()).toBe('x');
    again.close();
  });
});

describe('bad arguments', () => {
  test('a descriptor that is none, is closed, or cannot be polled, stays the caller’s', () => {
    const FD = 'an integer from 0 to 2147483647';
    expect(thrownBy(() => new FdSocket(-1))).toEqual(rangeRefusal(`"fd" must be ${FD}. Received -1`));
    expect(thrownBy(() => new FdSocket('3' as never))).toEqual(typeRefusal(`"fd" must be ${FD}. Received '3'`));
    const closed = closedFd();
    expect(thrownBy(() => new FdSocket(closed))).toEqual(refusal('EBADF', 'uv_poll_init', { fd: closed }));
    const blob = own(native().sealedBlob('blob', byte));
    expect(thrownBy(() => new FdSocket(blob))).toEqual(refusal('EPERM', 'uv_poll_init', { fd: blob }));
    expect(describeFd(blob).kind).toBe('file');
  });

  test('send refuses before anything is queued', async () => {
    const [left, right] = sockets();
    const none = '"bytes.length" must be at least 1: descriptors need a byte to travel with. Received 0';
    expect(await rejectionOf(left.send(Buffer.alloc(0), [2]))).toEqual(rangeRefusal(none));
    expect(await rejectionOf(left.send('x' as never))).toEqual(
      typeRefusal(`"bytes" must be a Buffer or Uint8Array. Received 'x'`),
    );
    expect(await rejectionOf(left.send(byte, Array(254).fill(2)))).toEqual(
      rangeRefusal('"fds.length" must be at most 253. Received 254'),
    );
    expect(await rejectionOf(left.send(byte, [-1]))).toEqual(
      rangeRefusal('"fds[0]" must be an integer from 0 to 2147483647. Received -1'),
    );
    expect(await rejectionOf(left.send(byte, [closedFd()]))).toEqual(refusal('EBADF', 'sendmsg', { fd: left.fd }));
    await left.send(Buffer.from('only this'));
    expect((await right.receive())?.bytes.toString()).toBe('only this');
  });
});

describe('the loop', () => {
  test('unref lets the process end although a receive waits', async () => {
    const program = start(new URL('fixtures/waits-unref.mjs', import.meta.url), { args: ['unref'] });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect(program.stdout).toBe('nothing else to do\n');
  });

  test('ref undoes it', async () => {
    const program = start(new URL('fixtures/waits-unref.mjs', import.meta.url), { args: ['ref'] });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect(program.stdout).toBe('received now\nnothing else to do\n');
  });

  test('it works in a worker thread', async () => {
    const [here, there] = socketpair();
    const socket = new FdSocket(here);
    onTestFinished(() => socket.close());
    const worker = new Worker(new URL('fixtures/worker.mjs', import.meta.url), { workerData: there });
    const ended = Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    for (let round = 0; round < 50; round++) {
      await socket.send(Buffer.from(`round ${round}`), [2, 2, 2]);
      const { bytes, fds } = (await socket.receive()) as Received;
      expect([bytes.toString(), fds.length]).toEqual([`round ${round}`, 3]);
      closeFds(fds);
    }
    socket.close();
    expect(await ended).toEqual([[{ count: 150 }], [0]]);
  });

  test('a peer that never stops sending does not starve timers', async () => {
    const [left, right] = sockets();
    let sending = true;
    const flood = (async () => {
      while (sending) await left.send(Buffer.alloc(1_000));
      left.close();
    })();
    const drain = readAll(right, () => {});
    await new Promise((resolve) => setTimeout(resolve, 10));
    sending = false;
    await Promise.all([flood, drain]);
  });

  test('a descriptor that was closed is reused for a new socket without a trace of the old one', async () => {
    for (let round = 0; round < 20; round++) {
      const [left, right] = FdSocket.pair();
      const waiting = right.receive();
      left.close();
      right.close();
      await waiting;
      const [again, other] = FdSocket.pair();
      expect([again.fd, other.fd].sort()).toEqual([left.fd, right.fd].sort());
      await again.send(byte);
      expect((await other.receive())?.bytes.toString()).toBe('x');
      again.close();
      other.close();
    }
  });
});
