// The worker on a socket of its own that shares the port by SO_REUSEPORT. Node's own option exists from 22.12 on.
import net from 'node:net';
import { bindListener } from 'handover/fd';

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, host, listening) {
  return listen.call(this, { fd: bindListener({ host, port, reusePort: true }) }, listening);
};
await import('../workers/listen.mjs');
