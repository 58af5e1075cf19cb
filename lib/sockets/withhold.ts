// Withholds 'close' and a second 'listening' from the app between COMMIT and RETIRE: in this time a server has stopped
// accepting and may start again, and an app that hears 'close' closes its pools (FACTS C3c).
import type { AddressInfo, Server } from 'node:net';
import { override } from './override.js';

/** The events withheld from the app of one server, until `release`. */
export interface Withheld {
  /** Whether the server has emitted 'close'. */
  readonly hasClosed: boolean;
  /** Calls back when the last connection has ended, as `server.close(callback)` does; also after `release`. */
  whenClosed(callback: () => void): void;
  /** Calls back when the server listens again. The app's listeners of 'listening' are not called. */
  whenListening(callback: () => void): void;
  /** Gives the server its own methods back. `deliver`: emits a 'close' that was withheld. */
  release(options: { readonly deliver: boolean }): void;
}

/** The original `emit` for each `emit` of this file. */
const behind = new WeakMap<Server['emit'], Server['emit']>();

/** The server's `emit` without the ones of this file. */
export function emitBehind({ emit }: Server): Server['emit'] {
  let found = emit;
  for (let next = behind.get(found); next; next = behind.get(found)) found = next;
  return found;
}

/** Withholds 'close' and 'listening' from now on. `listening` is true, and `address()` returns the present address. */
export function withhold(server: Server): Withheld {
  const address: AddressInfo | string | null = server.address();
  const original = server.emit;
  const callbacks: (() => void)[] = [];
  const listeningCallbacks: (() => void)[] = [];
  let hasClosed = false;
  let isReleased = false;

  const emit = function (this: Server, event: string, ...args: unknown[]): boolean {
    if (event === 'listening') {
      for (const callback of listeningCallbacks.splice(0)) callback();
      return false;
    }
    if (event !== 'close') return Reflect.apply(original, this, [event, ...args]) as boolean;
    hasClosed = true;
    for (const callback of callbacks.splice(0)) callback();
    return false;
  };

  behind.set(emit as Server['emit'], original);
  const restore = override(server, {
    emit: { value: emit },
    listening: { get: () => true },
    address: { value: () => address },
  });

  return {
    get hasClosed() {
      return hasClosed;
    },
    whenClosed(callback) {
      if (hasClosed) process.nextTick(callback);
      else if (isReleased) server.once('close', callback);
      else callbacks.push(callback);
    },
    whenListening(callback) {
      listeningCallbacks.push(callback);
    },
    release({ deliver }) {
      restore();
      isReleased = true;
      server.once('close', () => {
        hasClosed = true;
      });
      for (const callback of callbacks) server.once('close', callback);
      if (deliver && hasClosed) server.emit('close');
    },
  };
}
