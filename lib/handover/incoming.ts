// One handover, from the side of the process that takes. It holds descriptors from MANIFEST on, so from then on a
// predecessor that dies leaves it in charge.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HandoverError, type HandoverErrorCode, hasCode, knownCode } from '../errors.js';
import { publish } from '../events.js';
import { closeFds } from '../fd/index.js';
import type { Held } from '../protocol/batches.js';
import type { Channel } from '../protocol/channel.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { Deferred } from '../protocol/deferred.js';
import {
  type Claims,
  type DrainingGeneration,
  type Frame,
  type Hello,
  type Manifest,
  negotiate,
} from '../protocol/frames.js';
import { hasDied } from '../protocol/peer-process.js';
import { DEATH_GRACE, EXIT_GRACE, GREETING_TIMEOUT, LEAVE_GRACE } from '../protocol/timeouts.js';
import type { Adopter } from '../protocols/protocol.js';
import type { Ledger } from '../resources/ledger.js';
import { Holding } from '../transfer/holding.js';
import { OutcomeRelay } from './handover-record.js';
import { beatEvery, HEARTBEAT_INTERVAL, isHealthy } from './heartbeat.js';
import { Machine, SUCCESSOR, type SuccessorEvent, type SuccessorState } from './machine.js';
import { OlderGenerations } from './older-generations.js';
import { anotherInCharge, internal, peerLost } from './outcome.js';
import { unclaimedError } from './unclaimed.js';

/** What this process does with what it inherits. */
export interface Inheritance {
  /** Takes descriptors that a predecessor hands over. */
  inherit(manifest: Manifest, fds: Int32Array): void;
  adoptStderr(): void;
  readHelpersStderr(): void;
}

/** How this process comes to be in charge. */
export interface Succession {
  /** COMMIT has come. False: another generation has taken charge meanwhile. */
  mayTakeCharge(): boolean;
  /** The predecessor has died before COMMIT. False: an older generation has taken charge; waits until that is decided. */
  mayInherit(predecessor: Hello | undefined): Promise<boolean>;
  /** This process is in charge: by COMMIT, or because the predecessor died. Resolves when it accepts. */
  takeCharge(): Promise<void>;
}

/** How the handover ends for this process. */
export interface IncomingEnds {
  /** The predecessor has ended: nothing more will be claimed of what it left. */
  becomeAlone(predecessor?: Hello): void;
  /** The predecessor gave the handover up and serves: this process must end. */
  giveUp(error: HandoverError): void;
}

/** What a heartbeat says of this process. */
export interface Vitals {
  connectionCount(): number;
  /** Descriptors that are free beyond those of a handover; undefined where they cannot be counted. */
  room?(): number | undefined;
  readonly health?: (() => boolean | Promise<boolean>) | undefined;
}

/** What a handover needs of the process that takes. */
export interface Taking {
  readonly inheritance: Inheritance;
  readonly succession: Succession;
  readonly ends: IncomingEnds;
  readonly vitals: Vitals;
  /** Who goes on with connections of a listener. */
  readonly adopterOf: (listener: string) => Adopter | undefined;
  /** @default the system's */
  readonly clock?: Clock;
}

/** A process that has descriptors for fewer connections, its own included, could not serve. */
const SMALLEST_ROOM = 8;

/** Of the free descriptors, for what this process accepts and opens while connections move to it. */
const HEADROOM = 1 / 16;

/** Heartbeats from one that says how much room there is to the next. */
const ROOM_BEATS = 10;

/** Our HELLO; the generation is the predecessor's to count, and ours is not read. */
export type Greeting = Omit<Hello, 'generation'>;

export class IncomingHandover {
  /** Of handovers, this one and older ones, that end while this process looks on. */
  readonly relay: OutcomeRelay = new OutcomeRelay();
  readonly #channel: Channel;
  readonly #greeting: Hello;
  readonly #taking: Taking;
  readonly #clock: Clock;
  readonly #machine: Machine<SuccessorState, SuccessorEvent>;
  readonly #holding: Holding;
  readonly #loading = new Deferred<void>();
  readonly #ended = new Deferred<never>();
  readonly #alone = new Deferred<void>();
  #predecessor: Hello | undefined;
  readonly #older: OlderGenerations;
  readonly #joinedAt = performance.now();
  #isBeating = false;
  #beats = 0;
  #isLeaving = false;
  /** READY was said before the predecessor died. */
  #wasReady = false;
  #stopBeating: (() => void) | undefined;

  private constructor(channel: Channel, greeting: Greeting, taking: Taking) {
    this.#channel = channel;
    this.#greeting = { ...greeting, generation: 0 };
    this.#taking = taking;
    this.#clock = taking.clock ?? systemClock;
    this.#older = new OlderGenerations(this.#clock);
    this.#holding = new Holding(taking.adopterOf);
    this.#machine = new Machine(SUCCESSOR, 'greeting', (state, from) => this.#onEnter(state, from));
  }

  /**
   * Greets the predecessor and receives what it hands over. Owns the channel.
   * @throws HandoverError the predecessor is gone, gave up, or speaks another protocol
   */
  static async join(channel: Channel, greeting: Greeting, taking: Taking): Promise<IncomingHandover> {
    const successor = new IncomingHandover(channel, greeting, taking);
    // It may have closed already: the reader says why.
    channel.send('HELLO', successor.#greeting).catch(() => {});
    void successor.#read();
    const arrived = Promise.race([successor.#loading.promise, successor.#ended.promise]);
    if (await settlesWithin(arrived, GREETING_TIMEOUT, successor.#clock)) return successor;
    const message = `the predecessor sent no MANIFEST within ${GREETING_TIMEOUT} ms`;
    const details = { phase: 'PREPARE', stillServing: false } as const;
    throw successor.#giveUp(new HandoverError('ERR_HANDOVER_TIMEOUT', message, details));
  }

  /** One more than the predecessor's. */
  get generation(): number {
    return (this.#predecessor?.generation ?? 0) + 1;
  }

  get handoverId(): string | undefined {
    return this.#predecessor?.handoverId;
  }

  /** The older generations that still drain, as the predecessor last said. */
  get draining(): readonly DrainingGeneration[] {
    return this.#machine.state === 'serving' ? this.#older.now : [];
  }

  /** Whether the predecessor is gone. */
  get isAlone(): boolean {
    return this.#machine.state === 'alone';
  }

  /** Resolves when it is. */
  get alone(): Promise<void> {
    return this.#alone.promise;
  }

  /** @throws ERR_HANDOVER_UNCLAIMED a listener is lost. Where the predecessor is dead, this process is all there is. */
  async expectClaimed(
    claims: Claims,
    { unclaimedListeners, standIns }: Pick<Ledger, 'unclaimedListeners' | 'standIns'>,
  ): Promise<void> {
    const error = unclaimedError(claims, unclaimedListeners, claims.left, standIns);
    if (!error || this.#machine.state === 'ended') return;
    // Its end may not have been read yet.
    if (!this.isAlone && (await hasDied(this.#predecessor, DEATH_GRACE, this.#clock)))
      await settlesWithin(this.#alone.promise, EXIT_GRACE, this.#clock);
    if (this.#machine.state === 'bereft') await this.#alone.promise;
    if (!this.isAlone) throw this.#giveUp(error);
  }

  /** This process could serve: says what it claimed, and READY. Without a predecessor any more it is in charge at once. */
  async announceReady(claims: Claims): Promise<void> {
    if (this.#machine.state === 'ended') await this.#ended.promise;
    if (this.#machine.own('ready') === 'alone') {
      await this.#taking.succession.takeCharge();
      return;
    }
    try {
      await this.#channel.send('CLAIMED', claims);
      await this.#channel.send('READY', this.#room);
    } catch {
      // It died this very moment: its end, which is read next, says what this process is now.
      await this.#alone.promise;
      await (this.isAlone ? this.#taking.succession.takeCharge() : this.#ended.promise);
      return;
    }
    this.#stopBeating = beatEvery(this.#clock, HEARTBEAT_INTERVAL, () => void this.#beat());
  }

  /**
   * Lets the listeners accept, in a process that has descriptors left to serve with.
   *
   * @throws ERR_HANDOVER_DESCRIPTORS there are too few, and the predecessor had better serve on
   */
  async acceptWithRoom(accept: () => Promise<void>): Promise<void> {
    this.#expectRoom();
    try {
      await accept();
    } catch (error) {
      if (!hasCode(error, 'EMFILE') && !hasCode(error, 'ENFILE')) throw error;
      throw this.#outOfDescriptors('has no descriptors left for its listeners', error);
    }
    this.#expectRoom();
  }

  #expectRoom(): void {
    const { vitals } = this.#taking;
    const room = vitals.room?.();
    if (this.isAlone || room === undefined || room + vitals.connectionCount() >= SMALLEST_ROOM) return;
    throw this.#outOfDescriptors(`has descriptors left for ${room} connections, and needs ${SMALLEST_ROOM}`);
  }

  /** Gives the handover up: the predecessor hears of it at once, not when it has waited for READY. */
  #outOfDescriptors(what: string, cause?: unknown): unknown {
    const message = `this process ${what}: raise its RLIMIT_NOFILE (ulimit -n)`;
    return this.#giveUp(new HandoverError('ERR_HANDOVER_DESCRIPTORS', message, { stillServing: false, cause }));
  }

  /** What may move here. */
  get #room(): { readonly room?: number } {
    const room = this.#taking.vitals.room?.();
    return room === undefined ? {} : { room: Math.floor(room * (1 - HEADROOM)) };
  }

  /** Rejects when the handover is given up. */
  get ended(): Promise<never> {
    return this.#ended.promise;
  }

  /**
   * This process ends on purpose. A predecessor that still drains does not take anything back, but for what it has offered
   * and not given; resolves when it is known which is which.
   */
  async leave(): Promise<void> {
    const { state } = this.#machine;
    if (state === 'alone' || state === 'ended') return;
    this.#isLeaving = true;
    this.#machine.own('abort');
    this.#sayAbort('ERR_HANDOVER_CLOSED', 'the successor is shutting down');
    await settlesWithin(this.#holding.settled(), LEAVE_GRACE, this.#clock);
    this.#channel.close();
  }

  async #read(): Promise<void> {
    try {
      for await (const frame of this.#channel) {
        this.#onFrame(frame);
        // A batch parked is a few milliseconds gone: whatever else this process is asked comes before the next one.
        if (frame.name === 'GO') await nextTurn();
      }
      if (this.#isLeaving) void this.#holding.goAll();
      await this.#onEnd();
    } catch (error) {
      // In charge: whatever the predecessor sends, it may be retiring, and nobody else would serve.
      if (this.#machine.state === 'serving') await this.#onEnd();
      else this.#giveUp(error);
    }
  }

  /**
   * Usually the predecessor's death. A channel can also end while both live: then the predecessor finds it closed, ends
   * this process and takes back, also what it has offered and not given. Until it is dead that is not ours (G4).
   */
  async #onEnd(): Promise<void> {
    this.#channel.close();
    const { state } = this.#machine;
    if ((state === 'loading' || state === 'ready') && !(await hasDied(this.#predecessor, EXIT_GRACE, this.#clock))) {
      return void this.#giveUp(peerLost('the channel to the predecessor is closed, and it lives and serves'));
    }
    if (state === 'committing' || state === 'serving') await hasDied(this.#predecessor);
    const now = this.#machine.peer('EOF');
    if (now === 'ended') {
      this.#ended.reject(peerLost('the predecessor ended before it had handed anything over'));
    } else if (state !== 'alone') this.relay.lost(this.#predecessor, this.#joinedAt);
    if (now === 'bereft') await this.#inherit();
  }

  /** Never committed, and nobody is left to do it. */
  async #inherit(): Promise<void> {
    const isOurs = await this.#taking.succession.mayInherit(this.#predecessor);
    // It may have been told to end meanwhile.
    if (this.#machine.state !== 'bereft') return;
    if (isOurs) this.#machine.own('obtained');
    else this.#giveUp(anotherInCharge());
  }

  #onFrame(frame: Frame): void {
    const { name, fds } = frame;
    if (this.#machine.state === 'ended') {
      this.#onLateFrame(frame);
      return;
    }
    if (name === 'MANIFEST' || name === 'COMMIT') {
      this.#receive(frame.payload, fds);
      this.#machine.peer(frame.payload.more ? 'MORE' : name);
      return;
    }
    if (name === 'OFFER') {
      this.#machine.peer('OFFER');
      const answer = (held: Held): void => void this.#channel.send('HELD', held).catch(() => {});
      if (frame.isLost) this.#holding.refuse(frame.payload, answer);
      else this.#holding.hold(frame.payload, fds, answer);
      return;
    }
    closeFds(fds);
    if (name === 'ABORT' && frame.payload.batch !== undefined) {
      this.#holding.abort(frame.payload.batch);
      return;
    }
    if (name === 'HELLO') {
      negotiate(this.#greeting, frame.payload);
      this.#predecessor = frame.payload;
    }
    if (name === 'HEARTBEAT') this.#older.heard(frame.payload);
    this.#machine.peer(name as SuccessorEvent);
    if (name === 'GO') this.#holding.go(frame.payload.batch);
    if (name === 'RETIRE') this.relay.heard(frame.payload.outcomes);
    if (name === 'ABORT') {
      const message = `the predecessor gave the handover up: ${frame.payload.reason ?? 'it did not say why'}`;
      const code = knownCode(frame.payload.code) ?? 'ERR_HANDOVER_ABORTED';
      this.#giveUp(new HandoverError(code, message, { stillServing: false }));
    }
  }

  /** The predecessor has not read yet that this process leaves: what it offers now it takes back then. */
  #onLateFrame(frame: Frame): void {
    closeFds(frame.fds);
    if (!this.#isLeaving) return;
    if (frame.name === 'GO') this.#holding.go(frame.payload.batch);
    if (frame.name === 'ABORT' && frame.payload.batch !== undefined) this.#holding.abort(frame.payload.batch);
    else if (frame.name === 'ABORT') this.#holding.abortAll();
  }

  #receive(manifest: Manifest, fds: Int32Array): void {
    if (manifest.entries.length === fds.length) {
      this.#taking.inheritance.inherit(manifest, fds);
      return;
    }
    closeFds(fds);
    const message = `${manifest.entries.length} entries came with ${fds.length} descriptors`;
    throw new HandoverError('ERR_HANDOVER_PROTOCOL', message, { stillServing: true });
  }

  #onEnter(state: SuccessorState, from: SuccessorState): void {
    if (state === 'loading') this.#loading.resolve();
    if (state === 'committing') void this.#answerCommit();
    if (state === 'bereft') this.#wasReady = from === 'ready';
    if (state === 'alone') this.#onAlone(from);
    if (state === 'ended') {
      if (!this.#isLeaving) this.#holding.abortAll();
      this.#stopBeating?.();
      this.#alone.resolve();
    }
  }

  async #answerCommit(): Promise<void> {
    this.#older.committed(this.#predecessor);
    if (!this.#taking.succession.mayTakeCharge()) return void this.#giveUp(anotherInCharge());
    try {
      await this.#taking.succession.takeCharge();
      if (this.#machine.own('committed') !== 'serving') return;
      this.#channel.unref();
      // A predecessor that cannot be told has died: its end is read next, and leaves this process in charge.
      this.#channel.send('COMMITTED', {}).catch(() => {});
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** What it was doing when the predecessor died decides: an app still loading takes charge when it is ready. */
  #onAlone(from: SuccessorState): void {
    this.#stopBeating?.();
    // A predecessor that retired has nothing on offer; one that died cannot take it back.
    void this.#holding.goAll();
    this.#taking.inheritance.adoptStderr();
    this.#taking.inheritance.readHelpersStderr();
    // Nobody else would serve: without its pid file or takeover socket, if need be.
    if (from === 'bereft' && this.#wasReady) {
      this.#taking.succession
        .takeCharge()
        .catch((error: Error) => publish('hook-failed', { name: 'takeCharge', error }));
    }
    this.#taking.ends.becomeAlone(this.#predecessor);
    this.#channel.close();
    this.#alone.resolve();
  }

  async #beat(): Promise<void> {
    // One at a time: a predecessor that was stopped must not find thousands.
    if (this.#isBeating) return;
    this.#isBeating = true;
    const healthy = await isHealthy(this.#taking.vitals.health);
    const { state } = this.#machine;
    if (state === 'ready' || state === 'committing' || state === 'serving') {
      const connections = this.#taking.vitals.connectionCount();
      const room = this.#beats++ % ROOM_BEATS === 0 ? this.#room : {};
      const beat = { healthy, connections, adopted: this.#holding.adopted, ...room };
      await this.#channel.send('HEARTBEAT', beat).catch(() => {});
    }
    this.#isBeating = false;
  }

  #giveUp(error: unknown): unknown {
    const reason = error instanceof HandoverError ? error : internal(error);
    if (this.#machine.state === 'alone') return reason;
    // Before the state says so: it is the reason, and the end of the channel is not.
    this.#ended.reject(reason);
    if (this.#machine.own('abort') === 'ended') {
      this.#sayAbort(reason.code, reason.message);
      this.#channel.close();
      this.#taking.ends.giveUp(reason);
    }
    return reason;
  }

  #sayAbort(code: HandoverErrorCode, reason: string): void {
    this.#channel.send('ABORT', { code, reason }).catch(() => {});
  }
}
