// One connected Unix stream socket that carries frames and their descriptors.
import { HandoverError, hasCode, type SystemError } from '../errors.js';
import { type HandoverEvents, publish } from '../events.js';
import { closeFds, type FdSocket, MAX_FDS_PER_MESSAGE, type Received } from '../fd/index.js';
import { VERDICT } from './batches.js';
import { DescriptorsLost, FrameDecoder } from './decoder.js';
import { decodeFrame, encodeFrame, type Frame, type FrameName, type Payloads, type Role } from './frames.js';

const NO_FDS = new Int32Array(0);
/** Failures with ETOOMANYREFS after which a frame is given up, and the milliseconds from a failure to the next try. */
const MAX_ATTEMPTS = 200;
const RETRY_AFTER = 10;

/**
 * Owns the socket. Sends frames in the order of the calls. Both processes must read while they write: two that only write
 * fill both queues, and then wait for each other for ever.
 */
export class Channel implements AsyncIterable<Frame> {
  readonly #socket: FdSocket;
  readonly #role: Role;
  readonly #decoder = new FrameDecoder();
  #sending: Promise<void> | undefined;
  /** The first frame, which `hasGreeted` has read and the iterator has not yielded yet. */
  #greeted: { readonly frames: AsyncGenerator<Frame, undefined>; readonly first: Frame } | undefined;

  constructor(socket: FdSocket, role: Role) {
    this.#socket = socket;
    this.#role = role;
  }

  /**
   * Sends one frame. Resolves when the kernel has all of it, and borrows the descriptors until then.
   * @throws Error the frame exceeds a limit of the format, and nothing was sent; the system's error of sendmsg(2): the
   *   stream may end in the middle of the frame, so the channel is closed, except after EPIPE and ECONNRESET
   */
  async send<N extends FrameName>(name: N, payload: Payloads[N], fds: Int32Array = NO_FDS): Promise<void> {
    const bytes = encodeFrame(name, payload, fds.length);
    publish('frame', { direction: 'sent', name, role: this.#role, ...describePayload(payload) });
    // A frame waits for the one before it. If that one fails, the channel or the peer's end is closed, so this one fails, too,
    // and nothing follows a frame that was cut.
    const transmit = (): Promise<void> => this.#transmit(bytes, fds);
    const sent = this.#sending === undefined ? transmit() : this.#sending.then(transmit, transmit);
    this.#sending = sent;
    try {
      await sent;
      if (this.#sending === sent) this.#sending = undefined;
    } catch (error) {
      // After EPIPE and ECONNRESET the peer cannot read the cut frame any more. Its last frames, which say why it left, may
      // still wait in this socket, so the socket stays open.
      if (!hasCode(error, 'EPIPE') && !hasCode(error, 'ECONNRESET')) this.close();
      throw error;
    }
  }

  /**
   * Sends one frame in as many messages as its descriptors need. ETOOMANYREFS: this user has too many descriptors in flight,
   * and the kernel took nothing of the message. It is sent again, because the receivers read meanwhile (FACTS K11).
   */
  async #transmit(bytes: Buffer, fds: Int32Array): Promise<void> {
    // Each message but the last carries one byte of the frame. MAX_FRAME_FDS keeps the number of messages below its length.
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
   * Yields the received frames, until the peer closes its end or dies, in which case the kernel closes it. The caller owns
   * the descriptors of a frame. An OFFER whose descriptors do not fit into the descriptor table of this process is yielded
   * without them (`isLost`): the predecessor still has its copies.
   * @throws ERR_HANDOVER_PROTOCOL the peer broke the format; ERR_HANDOVER_DESCRIPTORS the descriptors of another frame did
   *   not fit. The descriptors of incomplete frames are closed.
   */
  async *[Symbol.asyncIterator](): AsyncIterator<Frame> {
    const { frames, first } = this.#greeted ?? { frames: this.#frames(), first: undefined };
    this.#greeted = undefined;
    if (first) yield first;
    yield* frames;
  }

  /**
   * Waits for the first whole frame, which the iterator yields first. False: the stream ended before.
   * @throws as the iterator
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
      // The peer's end closed with frames of this process unread. The kernel reports that before the end of the stream
      // (unix(7)).
      if (hasCode(error, 'ECONNRESET')) return undefined;
      throw hasCode(error, 'ENOBUFS') ? descriptorsLost(error) : error;
    } finally {
      closeFds(this.#decoder.release());
    }
  }

  get isClosed(): boolean {
    return this.#socket.closed;
  }

  /** Lets the process end although the channel is open, until `ref()`. */
  unref(): void {
    this.#socket.unref();
  }

  ref(): void {
    this.#socket.ref();
  }

  /** Closes the socket. The kernel still delivers frames that were sent. A frame that only `hasGreeted` read is dropped. */
  close(): void {
    const { frames, first } = this.#greeted ?? {};
    this.#greeted = undefined;
    if (first) closeFds(first.fds);
    void frames?.return(undefined);
    this.#socket.close();
  }

  /** ENOBUFS: the descriptors of this read did not fit into the descriptor table and are lost, but its bytes are there. */
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

/** Fields of the event `frame` for this payload. The names of its fields tell what they are: no other frame has them. */
function describePayload(payload: object): Pick<HandoverEvents['frame'], 'batch' | 'connections' | 'handoverId'> {
  const { batch, connections, verdicts, handoverId } = payload as Partial<
    Payloads['OFFER'] & Payloads['HELD'] & Payloads['HELLO']
  >;
  // HEARTBEAT has `connections`, too, which is a number there. Only frames of a batch have a list.
  if (batch === undefined) return { batch, connections: undefined, handoverId };
  const held = verdicts?.filter((verdict) => verdict === VERDICT.held);
  return { batch, connections: (connections ?? held)?.length, handoverId };
}
