// The successor's side of one handover. The successor holds the descriptors from MANIFEST on; if the predecessor dies after
// that, the successor can take charge.
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

/** What the successor does with the descriptors of its predecessor. */
export interface Inheritance {
  /** Takes the descriptors that the predecessor hands over, and owns them. */
  inherit(manifest: Manifest, fds: Int32Array): void;
  adoptStderr(): void;
  readHelpersStderr(): void;
}

/** How the successor takes charge. */
export interface Succession {
  /** Called at COMMIT. False: another generation has taken charge meanwhile. */
  mayTakeCharge(): boolean;
  /**
   * Called when the predecessor died before COMMIT. Resolves when the arbiter has decided; false: an older generation has
   * taken charge.
   */
  mayInherit(predecessor: Hello | undefined): Promise<boolean>;
  /** Called at COMMIT, or because the predecessor died. Resolves when this process is in charge. */
  takeCharge(): Promise<void>;
}

/** How the handover ends for the successor. */
export interface IncomingEnds {
  /** Called when the predecessor has ended. */
  becomeAlone(predecessor?: Hello): void;
  /** Called when the handover has failed and another process serves: this process must end. */
  giveUp(error: HandoverError): void;
}

/** The state of the successor, for its heartbeats. */
export interface Vitals {
  connectionCount(): number;
  /** Number of free descriptors beyond those that a handover needs; undefined where they cannot be counted. */
  room?(): number | undefined;
  readonly health?: (() => boolean | Promise<boolean>) | undefined;
}

/** What the handover needs of the successor. */
export interface Taking {
  readonly inheritance: Inheritance;
  readonly succession: Succession;
  readonly ends: IncomingEnds;
  readonly vitals: Vitals;
  /** Adopts connections of a listener; undefined where there is no such listener. */
  readonly adopterOf: (listener: string) => Adopter | undefined;
  /** @default the system clock */
  readonly clock?: Clock;
}

/** Number of connections, its own included, for which a successor needs descriptors. */
const SMALLEST_ROOM = 8;

/** Share of the free descriptors that is kept for what this process accepts and opens while connections migrate to it. */
const HEADROOM = 1 / 16;

/** Number of heartbeats from one that reports the room to the next. */
const ROOM_BEATS = 10;

/** The HELLO of the successor. Its generation is not read: the successor has the predecessor's, plus one. */
export type Greeting = Omit<Hello, 'generation'>;

export class IncomingHandover {
  /** Publishes the outcomes of this handover and of older ones. */
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
  /** Whether READY was sent before the predecessor died. */
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
   * Sends HELLO to the predecessor and receives the MANIFEST. Owns the channel.
   * @throws ERR_HANDOVER_PEER_LOST the predecessor has ended; ERR_HANDOVER_TIMEOUT it is silent; ERR_HANDOVER_ABORTED, or
   *    the code it gave: it aborted; ERR_HANDOVER_VERSION, ERR_HANDOVER_PROTOCOL
   */
  static async join(channel: Channel, greeting: Greeting, taking: Taking): Promise<IncomingHandover> {
    const successor = new IncomingHandover(channel, greeting, taking);
    // The predecessor may have closed the channel already: the reader then gets the reason.
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

  /** The older generations that still drain, by the predecessor's last report. */
  get draining(): readonly DrainingGeneration[] {
    return this.#machine.state === 'serving' ? this.#older.now : [];
  }

  /** Whether the predecessor has ended, and this process is in charge or will be when it is ready. */
  get isAlone(): boolean {
    return this.#machine.state === 'alone';
  }

  /** Resolves when the predecessor has ended, or this handover has. */
  get alone(): Promise<void> {
    return this.#alone.promise;
  }

  /**
   * Checks that every listener is claimed or left on purpose. Does not throw if the predecessor is dead, because no other
   * process would serve.
   * @throws ERR_HANDOVER_UNCLAIMED, ERR_HANDOVER_ADDRESS_IN_USE
   */
  async expectClaimed(
    claims: Claims,
    { unclaimedListeners, standIns }: Pick<Ledger, 'unclaimedListeners' | 'standIns'>,
  ): Promise<void> {
    const error = unclaimedError(claims, unclaimedListeners, claims.left, standIns);
    if (!error || this.#machine.state === 'ended') return;
    // The predecessor may have died without its EOF having been read yet.
    if (!this.isAlone && (await hasDied(this.#predecessor, DEATH_GRACE, this.#clock)))
      await settlesWithin(this.#alone.promise, EXIT_GRACE, this.#clock);
    if (this.#machine.state === 'bereft') await this.#alone.promise;
    if (!this.isAlone) throw this.#giveUp(error);
  }

  /** Sends CLAIMED and READY. If the predecessor has ended, takes charge at once. */
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
      // The predecessor died at this moment: its EOF, which is read next, decides what this process does.
      await this.#alone.promise;
      await (this.isAlone ? this.#taking.succession.takeCharge() : this.#ended.promise);
      return;
    }
    this.#stopBeating = beatEvery(this.#clock, HEARTBEAT_INTERVAL, () => void this.#beat());
  }

  /**
   * Lets the listeners accept, if this process has enough descriptors left to serve.
   * @throws ERR_HANDOVER_DESCRIPTORS too few descriptors are left; the handover is given up
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

  /** Gives the handover up, so that the predecessor need not wait for READY. */
  #outOfDescriptors(what: string, cause?: unknown): unknown {
    const message = `this process ${what}: raise its RLIMIT_NOFILE (ulimit -n)`;
    return this.#giveUp(new HandoverError('ERR_HANDOVER_DESCRIPTORS', message, { stillServing: false, cause }));
  }

  /** How many connections may migrate here. */
  get #room(): { readonly room?: number } {
    const room = this.#taking.vitals.room?.();
    return room === undefined ? {} : { room: Math.floor(room * (1 - HEADROOM)) };
  }

  /** Rejects when the handover is given up. */
  get ended(): Promise<never> {
    return this.#ended.promise;
  }

  /**
   * Ends the handover because this process ends on purpose. A predecessor that still drains takes back only connections
   * that it has offered and not given. Resolves when that is decided for each, or after `LEAVE_GRACE` ms.
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
        // Parking a batch takes a few milliseconds: other events get a turn before the next one.
        if (frame.name === 'GO') await nextTurn();
      }
      if (this.#isLeaving) void this.#holding.goAll();
      await this.#onEnd();
    } catch (error) {
      // This process is in charge. Whatever the predecessor sent, no other process may be left to serve.
      if (this.#machine.state === 'serving') await this.#onEnd();
      else this.#giveUp(error);
    }
  }

  /**
   * The channel ends, usually by the predecessor's death. It can also end while both live: the predecessor then finds it
   * closed, ends this process and takes everything back, also connections that it has offered and not given. Those stay the
   * predecessor's until it is dead (G4).
   */
  async #onEnd(): Promise<void> {
    this.#channel.close();
    const { state } = this.#machine;
    if ((state === 'loading' || state === 'ready') && !(await hasDied(this.#predecessor, EXIT_GRACE, this.#clock))) {
      return void this.#giveUp(peerLost('the channel to the predecessor is closed, and the predecessor serves on'));
    }
    if (state === 'committing' || state === 'serving') await hasDied(this.#predecessor);
    const now = this.#machine.peer('EOF');
    if (now === 'ended') {
      this.#ended.reject(peerLost('the predecessor ended before it had handed anything over'));
    } else if (state !== 'alone') this.relay.lost(this.#predecessor, this.#joinedAt);
    if (now === 'bereft') await this.#inherit();
  }

  /** Claims the charge after the predecessor died without COMMIT. */
  async #inherit(): Promise<void> {
    const isOurs = await this.#taking.succession.mayInherit(this.#predecessor);
    // This process may have been told to end meanwhile.
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
      const message = `the predecessor aborted the handover: ${frame.payload.reason ?? 'it gave no reason'}`;
      const code = knownCode(frame.payload.code) ?? 'ERR_HANDOVER_ABORTED';
      this.#giveUp(new HandoverError(code, message, { stillServing: false }));
    }
  }

  /**
   * Handles frames that the predecessor sent before it read that this process ends; it takes back what it offers in them.
   */
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
      // The send fails only if the predecessor has died: its EOF is read next, and this process stays in charge.
      this.#channel.send('COMMITTED', {}).catch(() => {});
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** The state when the predecessor died decides: an app that still loads takes charge when it is ready. */
  #onAlone(from: SuccessorState): void {
    this.#stopBeating?.();
    // A predecessor that retired has no connections on offer; one that died cannot take them back.
    void this.#holding.goAll();
    this.#taking.inheritance.adoptStderr();
    this.#taking.inheritance.readHelpersStderr();
    // No other process would serve, so a failure of the pid file or takeover socket is only published.
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
    // One heartbeat at a time: a predecessor that was stopped must not find thousands of them.
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
    // Before the change of state, so that this reason counts and not the end of the channel.
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
