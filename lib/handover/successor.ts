// One handover, from the side of the process that takes. It holds descriptors from MANIFEST on, so from then on a
// predecessor that dies leaves it in charge.
import type { Channel } from '../channel/channel.js';
import { type Frame, type Hello, type Manifest, negotiate } from '../channel/wire.js';
import { HandoverError } from '../errors.js';
import { closeFds } from '../fd/index.js';
import { settlesWithin } from './deadline.js';
import { Deferred } from './deferred.js';
import { Machine, SUCCESSOR, type SuccessorEvent, type SuccessorState } from './machine.js';

/** What the handover does in and for the process it runs in. */
export interface SuccessorHost {
  /** Takes descriptors, which are the host's from here on. */
  inherit(manifest: Manifest, fds: Int32Array): void;
  /** The predecessor's stderr pipe is about to end. */
  adoptStderr(): void;
  /** This process is in charge: by COMMIT, or because the predecessor died. */
  takeCharge(): void;
  /** The predecessor gave the handover up and serves: this process must end. */
  giveUp(error: HandoverError): void;
}

/** A predecessor that started us has its HELLO and MANIFEST on the way already. */
const GREETING_TIMEOUT = 10_000;

export class Successor {
  readonly #channel: Channel;
  readonly #host: SuccessorHost;
  readonly #machine: Machine<SuccessorState, SuccessorEvent>;
  readonly #loading = new Deferred<void>();
  readonly #ended = new Deferred<never>();
  #predecessor: Hello | undefined;

  private constructor(channel: Channel, host: SuccessorHost) {
    this.#channel = channel;
    this.#host = host;
    this.#machine = new Machine(SUCCESSOR, 'greeting', (state, from) => this.#onEnter(state, from));
  }

  /**
   * Greets the predecessor and receives what it hands over. Owns the channel.
   * @throws HandoverError the predecessor is gone, gave up, or speaks another protocol
   */
  static async join(channel: Channel, hello: Omit<Hello, 'generation'>, host: SuccessorHost): Promise<Successor> {
    const successor = new Successor(channel, host);
    // The generation is the predecessor's to count; this one is not read.
    await channel.send('HELLO', { ...hello, generation: 0 });
    void successor.#read(hello);
    const arrived = Promise.race([successor.#loading.promise, successor.#ended.promise]);
    if (await settlesWithin(arrived, GREETING_TIMEOUT)) return successor;
    const message = `the predecessor sent no MANIFEST within ${GREETING_TIMEOUT} ms`;
    throw successor.#giveUp(
      new HandoverError('ERR_HANDOVER_TIMEOUT', message, { phase: 'PREPARE', stillServing: false }),
    );
  }

  /** One more than the predecessor's. */
  get generation(): number {
    return (this.#predecessor?.generation ?? 0) + 1;
  }

  /** Rejects when the handover is given up. */
  get ended(): Promise<never> {
    return this.#ended.promise;
  }

  /** This process serves: says what it claimed, and READY. Without a predecessor any more it is in charge at once. */
  async announceReady(claims: {
    readonly claimed: readonly string[];
    readonly unclaimed: readonly string[];
  }): Promise<void> {
    if (this.#machine.state === 'ended') await this.#ended.promise;
    if (this.#machine.own('ready') === 'alone') {
      this.#host.takeCharge();
      return;
    }
    await this.#channel.send('CLAIMED', claims);
    await this.#channel.send('READY', {});
  }

  /** This process ends before it was in charge. */
  leave(reason: string): void {
    if (this.#machine.state === 'alone' || this.#machine.state === 'ended') return;
    this.#machine.own('abort');
    this.#channel.send('ABORT', { reason }).catch(() => {});
    this.#channel.close();
  }

  async #read(hello: Omit<Hello, 'generation'>): Promise<void> {
    try {
      for await (const frame of this.#channel) this.#onFrame(frame, hello);
      this.#machine.peer('EOF');
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #onFrame(frame: Frame, hello: Omit<Hello, 'generation'>): void {
    const { name, fds } = frame;
    if (name === 'MANIFEST' || name === 'COMMIT') {
      this.#receive(frame.payload, fds);
      this.#machine.peer(frame.payload.more ? 'MORE' : name);
      return;
    }
    closeFds(fds);
    if (name === 'HELLO') {
      negotiate({ ...hello, generation: 0 }, frame.payload);
      this.#predecessor = frame.payload;
    }
    this.#machine.peer(name as SuccessorEvent);
    if (name === 'ABORT') {
      const message = `the predecessor gave the handover up: ${frame.payload.reason ?? 'it did not say why'}`;
      this.#giveUp(new HandoverError('ERR_HANDOVER_ABORTED', message, { stillServing: false }));
    }
  }

  #receive(manifest: Manifest, fds: Int32Array): void {
    if (manifest.entries.length === fds.length) {
      this.#host.inherit(manifest, fds);
      return;
    }
    closeFds(fds);
    const message = `${manifest.entries.length} entries came with ${fds.length} descriptors`;
    throw new HandoverError('ERR_HANDOVER_PROTOCOL', message);
  }

  #onEnter(state: SuccessorState, from: SuccessorState): void {
    if (state === 'loading') this.#loading.resolve();
    if (state === 'committing') this.#answerCommit();
    // What it was doing when the predecessor died decides: an app still loading takes charge when it is ready.
    if (state === 'alone' && (from === 'ready' || from === 'committing')) this.#host.takeCharge();
    if (state === 'alone') {
      this.#host.adoptStderr();
      this.#channel.close();
    }
    if (state === 'ended' && (from === 'greeting' || from === 'receiving')) {
      const message = 'the predecessor ended before it had handed anything over';
      this.#ended.reject(
        new HandoverError('ERR_HANDOVER_PEER_LOST', message, { phase: 'PREPARE', stillServing: false }),
      );
    }
  }

  #answerCommit(): void {
    this.#host.takeCharge();
    // Its failure is the predecessor's death, which the reader learns too.
    this.#channel.send('COMMITTED', {}).catch(() => {});
    this.#channel.unref();
    this.#machine.own('committed');
  }

  #giveUp(error: unknown): unknown {
    const reason = error instanceof HandoverError ? error : internal(error);
    if (this.#machine.state !== 'alone' && this.#machine.own('abort') === 'ended') {
      this.#channel.send('ABORT', { code: reason.code, reason: reason.message }).catch(() => {});
      this.#channel.close();
      this.#ended.reject(reason);
      this.#host.giveUp(reason);
    }
    return reason;
  }
}

function internal(cause: unknown): HandoverError {
  const message = `unexpected: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new HandoverError('ERR_HANDOVER_INTERNAL', message, { cause, stillServing: false });
}
