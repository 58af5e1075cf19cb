// The second way to a successor: an independently started process dials the one in charge. The socket gives access to every
// listener, so only the same user may connect, and only one process at a time may dial.
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

/** The takeover socket, and the processes that may use it. */
export interface TakeoverOptions {
  /** Path of a Unix socket, in a directory that no other user can write to. */
  readonly path: string;
  /** Decides by the kernel's credentials of the process that asks. @default a process of the same user may take over */
  readonly allow?: (peer: PeerCredentials) => boolean;
}

/** Called with a process that dialled in and may take over, and owns the channel to it. */
export type OnDial = (channel: Channel, process: SuccessorProcess) => void;

/** The takeover socket's name in the ledger. */
export const TAKEOVER: string = `${RESERVED}takeover`;

const { ENOENT, ECONNREFUSED, EAGAIN } = constants.errno;
const RETRY_INTERVAL = 20;
const MAX_SILENT = 16;

export class Takeover {
  readonly #path: string;
  readonly #allow: (peer: PeerCredentials) => boolean;
  /** Processes that have dialled in and not sent HELLO yet. */
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
   * Dials the process in charge; undefined where there is none. The caller owns the channel. Takes a lock, so that processes
   * which are started together wait for each other. The lock is held until `unlock()` or the end of this process.
   * @throws ERR_HANDOVER_TAKEOVER_UNSAFE other users can write to the directory; ERR_HANDOVER_TIMEOUT another process holds the
   *   lock for `timeout` milliseconds; ERR_HANDOVER_IN_PROGRESS the accept queue of the process in charge is full; the system's
   *   error of connect(2)
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
    throw new HandoverError(
      'ERR_HANDOVER_IN_PROGRESS',
      `the process at ${path} does not accept: its accept queue is full`,
      {
        stillServing: true,
      },
    );
  }

  /** Lets the next process dial: this one is in charge, or has failed. */
  unlock(): void {
    this.#unlock?.();
    this.#unlock = undefined;
  }

  /**
   * Accepts processes that dial in, on a listener that the ledger owns. Calls `onDial` when the HELLO of a process has arrived:
   * a process that sends none must not block other handovers.
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

  /** Asks `allow`. An `allow` that throws refuses. */
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

/** Waits for HELLO. False: the process hung up, or broke the protocol and was sent the reason. */
async function hasGreeted(channel: Channel): Promise<boolean> {
  try {
    return await channel.hasGreeted();
  } catch (error) {
    if (error instanceof HandoverError) refuse(channel, error);
    return false;
  }
}

/** Sends a process that dialled in the reason why it cannot take over, and closes the channel. */
export function refuse(channel: Channel, { code, message }: HandoverError): void {
  channel.send('ABORT', { code, reason: message }).catch(() => {});
  channel.close();
}

function silent(): HandoverError {
  const message = `the process sent no HELLO within ${GREETING_TIMEOUT} ms, or more than ${MAX_SILENT} processes dialled in and sent none`;
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
  const message = `another process has held the lock ${path} for more than ${timeout} ms: it starts, and does not get ready`;
  throw new HandoverError('ERR_HANDOVER_TIMEOUT', message, { phase: 'PREPARE', stillServing: false });
}
