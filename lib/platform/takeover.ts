// Way 2: an independently started process dials the one in charge. The socket is the key to every listener, so only its
// owner may reach it, and only one process at a time may ask.
import { constants } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Endpoint } from '../endpoints/endpoint.js';
import { toEndpoint } from '../endpoints/kinds.js';
import { HandoverError, systemError } from '../errors.js';
import { publish } from '../events.js';
import { acceptOn, dial } from '../fd/dial.js';
import { closeFd, FdSocket, type PeerCredentials, peerCredentials } from '../fd/index.js';
import { tryLock } from '../fd/lock.js';
import { Channel } from '../protocol/channel.js';
import { sleep } from '../protocol/deadline.js';
import { GREETING_TIMEOUT } from '../protocol/timeouts.js';
import { RESERVED } from '../resources/ledger.js';
import { Guests } from './guests.js';
import { expectSafeDirectory, isSameUser, SOCKET_MODE } from './socket-rules.js';
import { foreignProcess, type SuccessorProcess } from './successor-process.js';

/** Who may take over. */
export interface TakeoverOptions {
  /** A Unix socket in a directory that nobody else can write to. */
  readonly path: string;
  /** Decides by what the kernel says of the process that asks. @default the same user */
  readonly allow?: (peer: PeerCredentials) => boolean;
}

/** Gets the channel to a process that dialled in, and may take over. */
export type OnDial = (channel: Channel, process: SuccessorProcess) => void;

/** The takeover socket's name in the ledger. */
export const TAKEOVER: string = `${RESERVED}takeover`;

const { ENOENT, ECONNREFUSED, EAGAIN } = constants.errno;
const RETRY_INTERVAL = 20;
const MAX_SILENT = 16;

export class Takeover {
  readonly #path: string;
  readonly #allow: (peer: PeerCredentials) => boolean;
  /** Those who have dialled in and not said HELLO. */
  readonly #silent: Guests<Channel> = new Guests({
    limit: MAX_SILENT,
    timeout: GREETING_TIMEOUT,
    hangUp: (channel) => refuse(channel, silent()),
  });
  #unlock: (() => void) | undefined;
  #stopAccepting: (() => void) | undefined;

  constructor({ path, allow = isSameUser }: TakeoverOptions) {
    this.#path = resolve(path);
    this.#allow = allow;
  }

  get endpoint(): Endpoint {
    return toEndpoint({ path: this.#path, mode: SOCKET_MODE });
  }

  /**
   * The channel to the process in charge; undefined where there is none. Processes started together queue up: the lock is
   * held until `unlock()`, which is called when this process is in charge, or by its end.
   * @throws ERR_HANDOVER_TAKEOVER_UNSAFE others can write to the directory; ERR_HANDOVER_TIMEOUT another process starts
   *   and does not get ready
   */
  async dial(timeout: number): Promise<Channel | undefined> {
    expectSafeDirectory(dirname(this.#path), 'takeover', 'ERR_HANDOVER_TAKEOVER_UNSAFE');
    this.#unlock = await waitForLock(`${this.#path}.lock`, timeout);
    const fd = dial(this.#path);
    if (fd >= 0) return new Channel(new FdSocket(fd), 'successor');
    if (fd === -ENOENT || fd === -ECONNREFUSED) return undefined;
    this.unlock();
    const path = this.#path;
    if (fd !== -EAGAIN) throw systemError(fd, 'connect', { path });
    throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', `the process at ${path} answers nobody: its queue is full`, {
      stillServing: true,
    });
  }

  unlock(): void {
    this.#unlock?.();
    this.#unlock = undefined;
  }

  /**
   * Lets others dial in, on a listener that stays the ledger's. A process is passed on with its HELLO: before it there is
   * nothing to hand over, and one that says nothing must not keep another handover waiting.
   */
  accept(listener: number, onDial: OnDial, makeRoom: () => void): void {
    const onAccept = (fd: number): void => {
      const channel = new Channel(new FdSocket(fd), 'predecessor');
      const peer = peerCredentials(fd, { pidfd: true });
      if (this.#isAllowed(peer)) {
        void this.#greet(channel, peer, onDial);
        return;
      }
      if (peer.pidfd !== undefined) closeFd(peer.pidfd);
      refuse(channel, notAllowed(peer));
    };
    this.#stopAccepting ??= acceptOn(listener, onAccept, makeRoom);
  }

  async #greet(channel: Channel, { pid = 0, pidfd, uid }: PeerCredentials, onDial: OnDial): Promise<void> {
    channel.unref();
    if (this.#silent.admit(channel) && (await hasGreeted(channel)) && this.#silent.leave(channel)) {
      channel.ref();
      onDial(channel, foreignProcess(pid, pidfd, { uid }));
      return;
    }
    this.#silent.leave(channel);
    if (pidfd !== undefined) closeFd(pidfd);
    channel.close();
  }

  /** A policy that throws has not allowed it. */
  #isAllowed(peer: PeerCredentials): boolean {
    let reason = 'not allowed';
    try {
      if (this.#allow(peer)) return true;
    } catch (error) {
      reason = String(error);
    }
    publish('takeover-refused', { uid: peer.uid, pid: peer.pid, reason });
    return false;
  }

  stop(): void {
    this.#stopAccepting?.();
    this.#stopAccepting = undefined;
  }
}

/** False: it has hung up, or speaks something else, and has been told so. */
async function hasGreeted(channel: Channel): Promise<boolean> {
  try {
    return await channel.hasGreeted();
  } catch (error) {
    if (error instanceof HandoverError) refuse(channel, error);
    return false;
  }
}

/** Tells a process that dialled in why it cannot take over, and hangs up. */
export function refuse(channel: Channel, { code, message }: HandoverError): void {
  channel.send('ABORT', { code, reason: message }).catch(() => {});
  channel.close();
}

function silent(): HandoverError {
  const message = `no HELLO within ${GREETING_TIMEOUT} ms, or too many wait who say nothing`;
  return new HandoverError('ERR_HANDOVER_TIMEOUT', message, { stillServing: true });
}

function notAllowed({ uid }: PeerCredentials): HandoverError {
  return new HandoverError('ERR_HANDOVER_TAKEOVER_REFUSED', `user ${uid} may not take over this process`, {
    stillServing: true,
  });
}

async function waitForLock(path: string, timeout: number): Promise<() => void> {
  for (const start = performance.now(); performance.now() - start < timeout; await sleep(RETRY_INTERVAL)) {
    const unlock = tryLock(path);
    if (unlock) return unlock;
  }
  const message = `another process holds ${path} for more than ${timeout} ms: it starts, and does not get ready`;
  throw new HandoverError('ERR_HANDOVER_TIMEOUT', message, { phase: 'PREPARE', stillServing: false });
}
