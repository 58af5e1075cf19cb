// One connected Unix stream socket that carries frames and their descriptors.
import { HandoverError, hasCode, type SystemError } from '../errors.js';
import { type HandoverEvents, publish } from '../events.js';
import { closeFds, type FdSocket, MAX_FDS_PER_MESSAGE, type Received } from '../fd/index.js';
import { VERDICT } from './batches.js';
import { DescriptorsLost, FrameDecoder } from './decoder.js';
import { decodeFrame, encodeFrame, type Frame, type FrameName, type Payloads, type Role } from './frames.js';

const NO_FDS = new Int32Array(0);
/** How often, and after how many milliseconds, what the kernel has no room for is sent again. */
const MAX_ATTEMPTS = 200;
const RETRY_AFTER = 10;

/** Owns the socket. Frames are sent in the order of the calls; both sides must read while they write. */
export class Channel implements AsyncIterable<Frame> {
  readonly #socket: FdSocket;
  readonly #role: Role;
  readonly #decoder = new FrameDecoder();
  #sending: Promise<void> | undefined;
  /** What `hasGreeted` has read. */
  #greeted: { readonly frames: AsyncGenerator<Frame, undefined>; readonly first: Frame } | undefined;

  constructor(socket: FdSocket, role: Role) {
    this.#socket = socket;
    this.#role = role;
  }

  /**
   * Sends one frame. Its descriptors are borrowed until the promise resolves: the kernel has all of it then.
   * @throws the system's error; the stream is then cut in the middle of a frame, and the channel has been closed unless
   *   the peer's end was
   */
  async send<N extends FrameName>(name: N, payload: Payloads[N], fds: Int32Array = NO_FDS): Promise<void> {
    const bytes = encodeFrame(name, payload, fds.length);
    publish('frame', { direction: 'sent', name, role: this.#role, ...describePayload(payload) });
    // Behind the one that is under way. Where that fails the channel is closed by then: nothing follows a cut frame.
    const transmit = (): Promise<void> => this.#transmit(bytes, fds);
    const sent = this.#sending === undefined ? transmit() : this.#sending.then(transmit, transmit);
    this.#sending = sent;
    try {
      await sent;
      if (this.#sending === sent) this.#sending = undefined;
    } catch (error) {
      // With the peer gone nobody reads the cut frame, and what it said before is still to be read: why it left.
      if (!hasCode(error, 'EPIPE') && !hasCode(error, 'ECONNRESET')) this.close();
      throw error;
    }
  }

  /**
   * One frame in as many messages as its descriptors need. Nothing of a message has gone where the user has too many
   * descriptors in flight: it is sent again when others have been read (FACTS K11).
   */
  async #transmit(bytes: Buffer, fds: Int32Array): Promise<void> {
    // All but the last message carry one byte: the frame is at least as long as it has messages (MAX_FRAME_FDS).
    const last = Math.max(0, Math.ceil(fds.length / MAX_FDS_PER_MESSAGE) - 1);
    for (let at = 0, attempt = 1; at <= last; ) {
      const part = fds.subarray(at * MAX_FDS_PER_MESSAGE, (at + 1) * MAX_FDS_PER_MESSAGE);
      try {
        await this.#socket.send(at < last ? bytes.subarray(at, at + 1) : bytes.subarray(at), part);
        at++;
      } catch (error) {
        if (!hasCode(error, 'ETOOMANYREFS') || attempt++ === MAX_ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER));
      }
    }
  }

  /**
   * The frames that come, until the peer's end is closed: by it, or by the kernel when it dies. The descriptors of a
   * frame are the reader's. An OFFER whose descriptors do not fit into this process' table comes without them: its sender
   * has its own.
   * @throws ERR_HANDOVER_PROTOCOL the peer broke the format; ERR_HANDOVER_DESCRIPTORS those of another frame did not fit.
   *   Every descriptor of an unfinished frame has been closed.
   */
  async *[Symbol.asyncIterator](): AsyncIterator<Frame> {
    const { frames, first } = this.#greeted ?? { frames: this.#frames(), first: undefined };
    this.#greeted = undefined;
    if (first) yield first;
    yield* frames;
  }

  /**
   * Waits until a whole frame has come, which is the first one read then. False: the stream has ended before.
   * @throws as reading does
   */
  async hasGreeted(): Promise<boolean> {
    const frames = this.#frames();
    const { value: first } = await frames.next();
    if (first) this.#greeted = { frames, first };
    return first !== undefined;
  }

  async *#frames(): AsyncGenerator<Frame, undefined> {
    try {
      for (let read = await this.#receive(); read; read = await this.#receive()) {
        this.#decoder.push(read.bytes, read.fds, read.isLost);
        for (let frame = this.#next(); frame; frame = this.#next()) yield frame;
      }
    } catch (error) {
      // The peer died with frames of ours unread: the end of the stream, reported before it (unix(7)).
      if (hasCode(error, 'ECONNRESET')) return undefined;
      throw hasCode(error, 'ENOBUFS') ? descriptorsLost(error) : error;
    } finally {
      closeFds(this.#decoder.release());
    }
  }

  get isClosed(): boolean {
    return this.#socket.closed;
  }

  /** Lets the process end although the channel is open; `ref` undoes it. */
  unref(): void {
    this.#socket.unref();
  }

  ref(): void {
    this.#socket.ref();
  }

  /** Closes the socket; what was sent before is still delivered. */
  close(): void {
    const { frames, first } = this.#greeted ?? {};
    this.#greeted = undefined;
    if (first) closeFds(first.fds);
    void frames?.return(undefined);
    this.#socket.close();
  }

  /** The bytes have come also where there was no room for the descriptors. */
  async #receive(): Promise<(Received & { readonly isLost?: boolean }) | undefined> {
    try {
      return await this.#socket.receive();
    } catch (error) {
      const { bytes } = error as SystemError;
      if (!hasCode(error, 'ENOBUFS') || !bytes?.length) throw error;
      return { bytes, fds: NO_FDS, isLost: true };
    }
  }

  #next(): Frame | undefined {
    for (;;) {
      try {
        const raw = this.#decoder.next();
        if (!raw) return undefined;
        const frame = this.#read(raw);
        if (frame) {
          const { name, payload } = frame;
          publish('frame', { direction: 'received', name, role: this.#role, ...describePayload(payload) });
          return frame;
        }
      } catch (cause) {
        if (cause instanceof DescriptorsLost) throw descriptorsLost(cause);
        const message = `the other process broke the protocol: ${(cause as Error).message}`;
        throw new HandoverError('ERR_HANDOVER_PROTOCOL', message, { cause, stillServing: true });
      }
    }
  }

  #read(raw: Parameters<typeof decodeFrame>[0]): Frame | undefined {
    let frame: Frame | undefined;
    try {
      frame = decodeFrame(raw, this.#role);
      if (frame?.isLost && frame.name !== 'OFFER') throw new DescriptorsLost();
    } finally {
      if (!frame) closeFds(raw.fds);
    }
    return frame;
  }
}

function descriptorsLost(cause: unknown): HandoverError {
  const message = 'descriptors were lost on the way: the descriptor table of this process is full';
  return new HandoverError('ERR_HANDOVER_DESCRIPTORS', message, { cause, stillServing: true });
}

/** What else there is to say of a frame: by the fields of its payload, since no other frame has them. */
function describePayload(payload: object): Pick<HandoverEvents['frame'], 'batch' | 'connections' | 'handoverId'> {
  const { batch, connections, verdicts, handoverId } = payload as Partial<
    Payloads['OFFER'] & Payloads['HELD'] & Payloads['HELLO']
  >;
  // A heartbeat has a number of connections, and no batch.
  if (batch === undefined) return { batch, connections: undefined, handoverId };
  const held = verdicts?.filter((verdict) => verdict === VERDICT.held);
  return { batch, connections: (connections ?? held)?.length, handoverId };
}
