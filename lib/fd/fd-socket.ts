// A Unix socket that carries descriptors, driven by the event loop. `net.Socket` cannot be used for one: its plain
// read(2) drops them (FACTS K6).
import { constants } from 'node:os';
import { systemError } from '../errors.js';
import { expectFd, expectMessageFds, expectPayload } from './arguments.js';
import { socketpair } from './descriptors.js';
import { type Received, receiveError, tryReceive } from './messages.js';
import { native, type Poller, READABLE, WRITABLE } from './native.js';
import { disown, type Ownership, own } from './owned.js';

const { EAGAIN, ECANCELED } = constants.errno;
const NO_FDS = new Int32Array(0);

interface Outgoing {
  readonly bytes: Uint8Array;
  readonly fds: Int32Array;
  sentBytes: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

interface Waiting {
  resolve: (received: Received | undefined) => void;
  reject: (error: Error) => void;
}

/**
 * Sockets with a pending send or receive. This set keeps them alive: the addon's callback holds them weakly, so that an
 * idle one can be collected.
 */
const awaited = new Set<FdSocket>();

/** The claim that an FdSocket left behind when it was collected unclosed. */
interface Remains {
  readonly ownership: Ownership;
  readonly poller: Poller;
}

let hasWarned = false;

const unclosed = new FinalizationRegistry<Remains>((remains) => {
  release(remains);
  if (hasWarned) return;
  hasWarned = true;
  const message = `an FdSocket was collected without close(): its descriptor ${remains.ownership.fd} is closed now`;
  process.emitWarning(message, { type: 'HandoverWarning', code: 'HANDOVER_UNCLOSED_FD_SOCKET' });
});

/** In this order: libuv must take the descriptor out of its loop before the number can be another file's. */
function release({ ownership, poller }: Remains): void {
  poller.close();
  if (disown(ownership)) native().close(ownership.fd);
}

/**
 * An asynchronous Unix socket that carries descriptors: borrowed to send, owned to receive.
 *
 * It owns the descriptor it is made from and sets O_NONBLOCK on it. Nothing is read before `receive()` is called: until then
 * messages wait in the kernel, which closes their descriptors when the socket is closed. Close it: one that is collected
 * unclosed gives its descriptor back, and the first such warns (`HANDOVER_UNCLOSED_FD_SOCKET`). It also ends with its thread, when a
 * worker is terminated. Plain descriptor numbers are yours there, too.
 *
 * @example
 * ```ts
 * import { closeFds, FdSocket } from 'handover/fd';
 * const [left, right] = FdSocket.pair();
 * await left.send(Buffer.from('log'), [1]);
 * left.close();
 * for await (const { bytes, fds } of right) closeFds(fds);
 * right.close();
 * ```
 * @see unix(7), sendmsg(2), recvmsg(2)
 */
export class FdSocket implements AsyncIterable<Received> {
  readonly #fd: number;
  readonly #ownership: Ownership;
  readonly #poller: Poller;
  readonly #outgoing: Outgoing[] = [];
  #armed = 0;
  #waiting: Waiting | undefined;
  #closed = false;

  /**
   * Takes over a connected (or datagram) Unix socket.
   * @throws EBADF and what else uv_poll_init refuses; EEXIST an FdSocket owns it already; the descriptor is then still yours
   */
  constructor(fd: number) {
    this.#fd = expectFd('fd', fd);
    this.#ownership = own(fd);
    const poller = native().openPoller(fd, FdSocket.#eventsOf(new WeakRef(this)), true);
    if (typeof poller === 'number') {
      disown(this.#ownership);
      throw systemError(poller, 'uv_poll_init', { fd });
    }
    this.#poller = poller;
    unclosed.register(this, { ownership: this.#ownership, poller }, this);
  }

  /** Passes events on to a socket without holding it. */
  static #eventsOf(socket: WeakRef<FdSocket>): (status: number, events: number) => void {
    return (status, events) => {
      const target = socket.deref();
      if (target) target.#onEvents(status, events);
    };
  }

  /** Two connected stream sockets. */
  static pair(): [FdSocket, FdSocket] {
    const [left, right] = socketpair();
    return [new FdSocket(left), new FdSocket(right)];
  }

  /** The descriptor, still owned by this object. */
  get fd(): number {
    return this.#fd;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends bytes and up to 253 descriptors. Resolves once the kernel has taken all of it: this is the back-pressure, and
   * until then the bytes must not change and the descriptors must stay open. Calls are sent in their order.
   * @throws as `sendFds`, but never EAGAIN; ECANCELED the socket was closed before all was sent
   */
  async send(bytes: Uint8Array, fds: ArrayLike<number> = NO_FDS): Promise<void> {
    const message = { bytes: expectPayload('bytes', bytes), fds: expectMessageFds('fds', fds), sentBytes: 0 };
    if (this.#closed) throw systemError(-ECANCELED, 'sendmsg', { fd: this.#fd });
    if (this.#outgoing.length === 0) {
      const result = this.#transmit(message);
      if (result === 0) return;
      if (result !== -EAGAIN) throw systemError(result, 'sendmsg', { fd: this.#fd });
    }
    await new Promise<void>((resolve, reject) => {
      this.#outgoing.push(Object.assign(message, { resolve, reject }));
      awaited.add(this);
      this.#arm(this.#armed | WRITABLE);
    });
  }

  /**
   * Waits for the next bytes and descriptors; the descriptors are yours. One call at a time.
   * @returns undefined at the end of the stream, or when the socket is closed on this side
   * @throws as `recvFds`, but never EAGAIN
   */
  async receive(): Promise<Received | undefined> {
    if (this.#closed) return undefined;
    if (this.#waiting) {
      throw Object.assign(new Error('receive() is already waiting'), { code: 'ERR_INVALID_STATE' });
    }
    // Always by way of the loop, also when something is there: a peer that never stops sending must not starve timers.
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      awaited.add(this);
      this.#arm(this.#armed | READABLE);
    });
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Received> {
    for (let received = await this.receive(); received; received = await this.receive()) yield received;
  }

  /** Lets the process end although this socket waits; `ref` undoes it. */
  unref(): this {
    this.#poller.unref();
    return this;
  }

  ref(): this {
    this.#poller.ref();
    return this;
  }

  /** Closes the descriptor. Waiting sends reject with ECANCELED, a waiting receive resolves undefined. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    unclosed.unregister(this);
    release({ ownership: this.#ownership, poller: this.#poller });
    this.#waiting?.resolve(undefined);
    this.#waiting = undefined;
    for (const { reject } of this.#outgoing.splice(0)) reject(systemError(-ECANCELED, 'sendmsg', { fd: this.#fd }));
    awaited.delete(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #onEvents(status: number, events: number): void {
    // On EPOLLERR libuv stops the handle and reports an error without events; the socket itself knows which.
    if (status < 0) this.#armed = 0;
    if (this.#outgoing.length > 0 && (status < 0 || events & WRITABLE)) this.#flush();
    if (status < 0 || events & READABLE) this.#deliver();
    this.#letGo();
  }

  /** No send or receive is pending: the collector may take this socket. */
  #letGo(): void {
    if (this.#waiting === undefined && this.#outgoing.length === 0) awaited.delete(this);
  }

  #flush(): void {
    for (let message = this.#outgoing[0]; message; message = this.#outgoing[0]) {
      const result = this.#transmit(message);
      if (result === -EAGAIN) break;
      this.#outgoing.shift();
      if (result === 0) message.resolve();
      else message.reject(systemError(result, 'sendmsg', { fd: this.#fd }));
    }
    this.#arm(this.#outgoing.length > 0 ? this.#armed | WRITABLE : this.#armed & ~WRITABLE);
  }

  /** Sends the rest of one message; 0 when all of it is with the kernel. The descriptors go with the first byte. */
  #transmit(message: Pick<Outgoing, 'bytes' | 'fds' | 'sentBytes'>): number {
    const { bytes, fds } = message;
    while (message.sentBytes < bytes.length) {
      const isFirst = message.sentBytes === 0;
      const rest = isFirst ? bytes : bytes.subarray(message.sentBytes);
      const sent = native().sendmsg(this.#fd, rest, fds, isFirst ? fds.length : 0, false);
      if (sent < 0) return sent;
      message.sentBytes += sent;
    }
    return 0;
  }

  #deliver(): void {
    const waiting = this.#waiting;
    // Disarmed only here, an event later: a reader that asks again at once costs no epoll_ctl(2).
    if (!waiting) {
      this.#arm(this.#armed & ~READABLE);
      return;
    }
    const received = tryReceive(this.#fd);
    if (received === -EAGAIN) {
      this.#arm(this.#armed | READABLE);
      return;
    }
    this.#waiting = undefined;
    if (typeof received === 'number') waiting.reject(receiveError(received, this.#fd));
    else waiting.resolve(received.bytes.length === 0 && received.fds.length === 0 ? undefined : received);
  }

  #arm(events: number): void {
    if (events === this.#armed || this.#closed) return;
    this.#armed = events;
    if (events === 0) {
      this.#poller.stop();
      return;
    }
    const error = this.#poller.start(events);
    if (error < 0) this.#fail(error);
  }

  /** Other code has closed the descriptor: no message can come by it any more. */
  #fail(error: number): void {
    this.#armed = 0;
    const failure = systemError(error, 'uv_poll_start', { fd: this.#fd });
    this.#waiting?.reject(failure);
    this.#waiting = undefined;
    for (const { reject } of this.#outgoing.splice(0)) reject(failure);
    awaited.delete(this);
  }
}
