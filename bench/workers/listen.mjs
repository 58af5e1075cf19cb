// The app as a worker of node:cluster and of pm2's cluster mode: told to end, it stops accepting, answers what it
// has begun, and exits.
import process from 'node:process';
import { createServer, mark } from './app.mjs';

/** `close()` waits for ever for a connection that was busy when it was called and is used on; pm2 kills after so long. */
const GRACE = 1_600;

const server = createServer();
server.listen(Number(process.env.PORT), '127.0.0.1', () => mark('accepting'));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close(() => process.exit(0));
    setTimeout(() => process.exit(0), GRACE).unref();
  });
}
