// Messages to a service manager: datagrams of VARIABLE=value lines to NOTIFY_SOCKET (sd_notify(3)). service-manager.ts decides
// which messages are sent when.
import { systemError } from '../errors.js';
import { dialDatagram } from '../fd/dial.js';
import { closeFd, FdSocket, socketpair } from '../fd/index.js';
import { settlesWithin } from '../protocol/deadline.js';

/** Lines of a message. Whitespace in a value becomes one blank, as a line break would begin another line. */
export type Fields = Readonly<Record<string, string | number | undefined>>;

export class Notifier {
  readonly #path: string;
  /** The last message. The next one waits for it, because the manager acts on messages in the order of their arrival. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** `socket` is NOTIFY_SOCKET: a path, or `@name` in the abstract namespace. */
  constructor(socket: string) {
    this.#path = socket.startsWith('@') ? `\0${socket.slice(1)}` : socket;
  }

  /** Whether this class can send to such a NOTIFY_SOCKET. It cannot send to `vsock:` addresses of virtual machines. */
  static speaks(socket: string): boolean {
    return /^[/@]./.test(socket);
  }

  /** Whether messages wait for the manager to read: a periodic message can then be left out. */
  get isBehind(): boolean {
    return this.#waiting > 0;
  }

  /**
   * Sends one message with copies of `fds`. Resolves when the kernel has it, and borrows the descriptors until then.
   * @throws the system's error of connect(2) or sendmsg(2), for example because the manager is gone
   */
  send(fields: Fields, fds: readonly number[] = []): Promise<void> {
    const text = textOf(fields);
    return this.#inTurn(() => this.#transmit(text, fds));
  }

  /** Sends several messages by `steps`, with no other message of this process between them. */
  together(steps: (send: (fields: Fields) => Promise<void>) => Promise<void>): Promise<void> {
    return this.#inTurn(() => steps((fields) => this.#transmit(textOf(fields), [])));
  }

  /** A socket connected to the manager, which the caller owns. @throws the system's error of connect(2) */
  dial(): number {
    const fd = dialDatagram(this.#path);
    if (fd < 0) throw systemError(fd, 'connect', { path: this.#path });
    return fd;
  }

  /**
   * True when the manager has read every earlier message: it then closes the descriptor of this one (sd_notify_barrier(3)).
   * False after `timeout` milliseconds. @throws as `send`
   */
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
    // Each message connects anew, because the manager may have been restarted at the same path.
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
