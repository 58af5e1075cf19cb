// The same server with nothing of this package: over TCP, and over TLS where it gets a key and a certificate. Says its ports
// by IPC, and ends with the channel.
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { answer } from './answer.mjs';

const [key, cert] = process.argv.slice(2);

async function listen(server) {
  await once(server.listen(0, '127.0.0.1', 4096), 'listening');
  return server.address().port;
}

const options = { keepAliveTimeout: 600_000 };
process.send({
  port: await listen(http.createServer(options, answer)),
  tlsPort: key && cert ? await listen(https.createServer({ ...options, key, cert }, answer)) : 0,
});
process.on('disconnect', () => process.exit());
