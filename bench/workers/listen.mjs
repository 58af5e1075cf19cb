// The app as a worker of node:cluster and of pm2's cluster mode: told to end, it stops accepting, answers what it
// has begun, and exits.
import process from 'node:process';
import { createServer } from './app.mjs';

const server = createServer();
server.listen(Number(process.env.PORT), '127.0.0.1');
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close(() => process.exit(0)));
