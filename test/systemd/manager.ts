// Plays the service manager of sd_notify(3): a datagram socket that hears messages with their senders and descriptors.
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { closeFds, FdSocket } from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import { temporaryFolder } from '../fd/sandbox.js';

/** One message: its lines, who sent it as the kernel says, and the descriptors that came with it, open until the test ends. */
export interface Heard {
  readonly fields: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly fds: readonly number[];
}

export class Manager {
  /** For NOTIFY_SOCKET. */
  readonly address: string;
  /** Everything heard, in its order; a barrier is lifted as soon as it is read, unless held. */
  readonly heard: Heard[] = [];
  readonly #socket: FdSocket;
  readonly #fds = new Set<number>();
  readonly #waiting = new Set<() => void>();
  #holdsBarriers = false;

  /** `deaf`: it never reads, so that its queue fills. */
  constructor({ abstract = false, deaf = false }: { readonly abstract?: boolean; readonly deaf?: boolean } = {}) {
    const { AF_UNIX, SOCK_DGRAM, SOL_SOCKET, SO_PASSCRED = -1 } = native().constants;
    const name = `handover-test-notify-${process.pid}-${Math.round(performance.now() * 1_000)}`;
    this.address = abstract ? `@${name}` : join(temporaryFolder(), 'notify');
    const fd = native().socket(AF_UNIX, SOCK_DGRAM, 0);
    native().bindUnix(fd, Buffer.from(this.address.replace('@', '\0')));
    native().setsockopt(fd, SOL_SOCKET, SO_PASSCRED, new Uint8Array(Int32Array.of(1).buffer));
    this.#socket = new FdSocket(fd);
    if (!deaf) void this.#listen();
    onTestFinished(() => this.close());
  }

  /** The next message, or one heard already, that has this line; claimed, so that the same wait again waits for another. */
  async next(name: string, value?: string): Promise<Heard> {
    for (;;) {
      const at = this.heard.findIndex(
        ({ fields }) => fields[name] !== undefined && (value ?? fields[name]) === fields[name],
      );
      if (at >= 0) return this.heard.splice(at, 1)[0] as Heard;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** From now on barriers stand until {@link lift}. */
  holdBarriers(): void {
    this.#holdsBarriers = true;
  }

  lift({ fds }: Heard): void {
    for (const fd of fds) this.#fds.delete(fd);
    closeFds(fds);
  }

  close(): void {
    this.#socket.close();
    closeFds([...this.#fds]);
    this.#fds.clear();
  }

  async #listen(): Promise<void> {
    for await (const { bytes, fds, credentials } of this.#socket) {
      const lines = bytes.toString().split('\n');
      const fields = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2)));
      const heard = { fields, pid: credentials?.pid ?? 0, fds: [...fds] };
      for (const fd of fds) this.#fds.add(fd);
      if (fields.BARRIER && !this.#holdsBarriers) this.lift(heard);
      this.heard.push(heard);
      for (const resolve of this.#waiting) resolve();
      this.#waiting.clear();
    }
  }
}
