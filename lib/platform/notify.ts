// Messages to a service manager: datagrams of VARIABLE=value lines to NOTIFY_SOCKET (sd_notify(3)). What they mean, and
// when they are due, is in service-manager.ts.
import { systemError } from '../errors.js';
import { dialDatagram } from '../fd/dial.js';
import { closeFd, FdSocket, socketpair } from '../fd/index.js';
import { settlesWithin } from '../protocol/deadline.js';

/** Lines of a message; a line break in a value is a blank. */
export type Fields = Readonly<Record<string, string | number | undefined>>;

export class Notifier {
  readonly #path: string;
  /** One after another: the manager acts on them in this order. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** `socket` is NOTIFY_SOCKET: a path, or `@name` in the abstract namespace. */
  constructor(socket: string) {
    this.#path = socket.startsWith('@') ? `\0${socket.slice(1)}` : socket;
  }

  /** Whether NOTIFY_SOCKET is of a kind that this can talk to; vsock: of virtual machines is not. */
  static speaks(socket: string): boolean {
    return /^[/@]./.test(socket);
  }

  /** Whether the manager does not read as fast as it is told: what is said again and again can wait. */
  get isBehind(): boolean {
    return this.#waiting > 0;
  }

  /**
   * Sends one message, with copies of `fds`, which must stay open until then. Resolves when the kernel has it.
   * @throws what connect(2) and sendmsg(2) say: the manager is gone
   */
  send(fields: Fields, fds: readonly number[] = []): Promise<void> {
    const text = textOf(fields);
    return this.#inTurn(() => this.#transmit(text, fds));
  }

  /** Several messages between which no other of this process comes; `steps` sends them. */
  together(steps: (send: (fields: Fields) => Promise<void>) => Promise<void>): Promise<void> {
    return this.#inTurn(() => steps((fields) => this.#transmit(textOf(fields), [])));
  }

  /** A socket connected to the manager, the caller's. @throws what connect(2) says */
  dial(): number {
    const fd = dialDatagram(this.#path);
    if (fd < 0) throw systemError(fd, 'connect', { path: this.#path });
    return fd;
  }

  /** True when the manager has read everything sent before; it says so by closing a descriptor (sd_notify_barrier(3)). */
  async barrier(timeout: number): Promise<boolean> {
    const [ours, theirs] = socketpair();
    const end = new FdSocket(ours);
    const sent = this.send({ BARRIER: 1 }, [theirs]).finally(() => closeFd(theirs));
    try {
      return await settlesWithin(
        sent.then(() => end.receive()),
        timeout,
      );
    } finally {
      end.close();
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#waiting++;
    const done = this.#last.then(work).finally(() => this.#waiting--);
    this.#last = done.catch(() => {});
    return done;
  }

  async #transmit(text: string, fds: readonly number[]): Promise<void> {
    // Anew each time: the manager may have been started again behind the same path.
    const socket = new FdSocket(this.dial()).unref();
    try {
      await socket.send(Buffer.from(text), fds);
    } finally {
      socket.close();
    }
  }
}

function textOf(fields: Fields): string {
  const lines = Object.entries(fields).filter(([, value]) => value !== undefined);
  return lines.map(([name, value]) => `${name}=${String(value).replace(/\s+/g, ' ')}`).join('\n');
}
