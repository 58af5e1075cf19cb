// The status of a listener, for operators.

import { authority, isIp } from '../endpoints/ip.js';
import { acceptQueue } from '../fd/accept-queue.js';
import { describeFd } from '../fd/index.js';
import type { ListenerStatus } from '../protocol/control-commands.js';
import type { Entry } from '../resources/ledger.js';

/** The options with which a listener was opened. */
export interface Asked {
  readonly backlog: number | undefined;
  readonly reusePort: boolean;
}

/** Reads a listener's state from the kernel. Borrows the descriptor. */
export function listenerStatus({ name, address, fd }: Entry, asked: Asked | undefined): ListenerStatus {
  const { inode, socket } = describeFd(fd);
  const queue = acceptQueue(fd);
  const local = socket?.local;
  const bound = isIp(local) ? authority(local.address, local.port) : undefined;
  return {
    name,
    address,
    bound,
    backlogAsked: asked?.backlog,
    backlogEffective: queue?.limit,
    queueDepth: queue?.depth,
    reusePort: asked?.reusePort ?? false,
    inode: String(inode),
  };
}
