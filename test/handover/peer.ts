// The other end of a real socketpair, played by the test: frames in any order, and bytes that are none.

import { onTestFinished } from 'vitest';
import { closeFds, FdSocket } from '../../lib/fd/index.js';
import { Channel } from '../../lib/protocol/channel.js';
import { encodeFrame, type Frame, type FrameName, type Payloads, type Role } from '../../lib/protocol/frames.js';

export class Peer {
  /** The end of the side under test, which owns it. */
  readonly channel: Channel;
  readonly #socket: FdSocket;
  readonly #own: Channel;
  readonly #frames: AsyncIterator<Frame>;

  /** `role` is that of the side under test. */
  constructor(role: Role) {
    const [theirs, ours] = FdSocket.pair();
    this.channel = new Channel(theirs, role);
    this.#socket = ours;
    this.#own = new Channel(ours, role === 'predecessor' ? 'successor' : 'predecessor');
    this.#frames = this.#own[Symbol.asyncIterator]();
    onTestFinished(async () => {
      this.#own.close();
      this.channel.close();
      await this.#frames.return?.().catch(() => {});
    });
  }

  send<N extends FrameName>(name: N, payload: Payloads[N], fds: readonly number[] = []): Promise<void> {
    return this.#own.send(name, payload, Int32Array.from(fds));
  }

  /** Bytes as they are, with descriptors nobody announced. */
  write(bytes: Uint8Array, fds: readonly number[] = []): Promise<void> {
    return this.#socket.send(bytes, fds);
  }

  /** The first so many bytes of a frame. */
  part<N extends FrameName>(name: N, payload: Payloads[N], bytes: number, fds: readonly number[] = []): Promise<void> {
    return this.write(encodeFrame(name, payload, fds.length).subarray(0, bytes), fds);
  }

  /** The next frame's name and payload; 'EOF' at the end. What descriptors it has are closed, and counted. */
  async next(): Promise<{ readonly name: string; readonly payload: unknown; readonly fdCount: number }> {
    const { value, done } = await this.#frames.next();
    if (done) return { name: 'EOF', payload: undefined, fdCount: 0 };
    const { name, payload, fds } = value as Frame;
    closeFds(fds);
    return { name, payload, fdCount: fds.length };
  }

  /** The names of the frames until the end. */
  async rest(): Promise<string[]> {
    const names: string[] = [];
    for (;;) {
      const { name } = await this.next();
      if (name === 'EOF') return names;
      names.push(name);
    }
  }

  /** Dies. */
  close(): void {
    this.#own.close();
  }
}
