// One of two processes that take turns behind one address: told to accept, it makes the descriptor it inherited as 3 a
// server, or binds a socket of its own; told to stop, it accepts no more and answers what it has. Times are nanoseconds of
// CLOCK_MONOTONIC, the same in both. Ends with the channel.
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import process from 'node:process';
import { dupFd } from 'handover/fd';

const [, , way, key, cert] = process.argv;
// Room for seconds of the load: connect(2) to a Unix path whose queue is full fails at once, whoever listens.
const BACKLOG = 4_096;
const now = () => String(process.hrtime.bigint());
let server;
let firstAccept;
let lastAccept;

function createServer() {
  const answer = (_request, response) => response.setHeader('x-pid', process.pid).end('hello\n');
  return key ? https.createServer({ key, cert }, answer) : http.createServer(answer);
}

const deeds = {
  async accept({ where }) {
    server = createServer();
    firstAccept = once(server, 'connection').then(now);
    server.on('connection', () => {
      lastAccept = now();
    });
    await once(server.listen({ ...(way === 'inherited' ? { fd: dupFd(3) } : where), backlog: BACKLOG }), 'listening');
    return { listening: now(), address: server.address() };
  },
  async first() {
    return { firstAccept: await firstAccept };
  },
  stop() {
    const stopped = now();
    // Not that of http.Server: it also closes connections that have not asked yet.
    net.Server.prototype.close.call(server);
    return { stopped, lastAccept };
  },
};

process.on('message', async ({ do: deed, ...order }) => {
  try {
    process.send(await deeds[deed](order));
  } catch (error) {
    process.send({ error: String(error) });
  }
});
process.on('disconnect', () => process.exit());
process.send({});
