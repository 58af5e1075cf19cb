// Answers a worker that asks for a listener. The worker accepts no connection before, so this is the last moment to refuse.

import type { Endpoint } from '../endpoints/endpoint.js';
import { HandoverError } from '../errors.js';
import type { Answer, Params } from '../protocol/rpc.js';
import { type Listeners, reviveBind } from './listeners.js';
import type { Slot } from './slot.js';
import type { Worker } from './worker.js';

/** @throws ERR_HANDOVER_CLOSED the worker is ending; as bind(2) */
export function lend(
  listeners: Listeners,
  slot: Slot,
  worker: Worker,
  { name, kind, canonical, bind }: Params,
): Answer {
  // The connections that an ending worker accepted would be lost with it.
  if (worker.hasLeft || slot.isStopping) {
    const message = `worker ${slot.index} (pid ${worker.pid}) is replaced or not needed any more: it gets no listener`;
    throw new HandoverError('ERR_HANDOVER_CLOSED', message, { stillServing: true });
  }
  const endpoint = { kind, canonical, bind: reviveBind(bind) } as Endpoint;
  const fds = Int32Array.of(listeners.lend(String(name), endpoint));
  worker.lend({ name: String(name), kind: endpoint.kind, address: endpoint.canonical });
  return { fds };
}
