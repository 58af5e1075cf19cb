// Socket.IO: its connections do not move. Each is closed politely, and its client comes back by itself, to the new process, with
// its session: id, rooms, data, and the packets it missed.
//
//   node examples/socket.io.mjs       PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

import http from 'node:http';
import { deserialize, serialize } from 'node:v8';
import { serve } from 'handover';
import { Server } from 'socket.io';

let takeCharge;
const inCharge = new Promise((resolve) => {
  takeCharge = resolve;
});

const server = http.createServer();
const io = new Server(server, {
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
  // Long polling needs every request of a client to reach one process, and on probation two of them accept.
  transports: ['websocket'],
  // Who comes before the sessions have come waits for them.
  allowRequest: (_request, callback) => void inCharge.then(() => callback(null, true)),
});
const { adapter, sockets } = io.of('/');

io.on('connection', (socket) => {
  // Recovery begins with the first packet a client has received.
  if (!socket.recovered) socket.emit('welcome', process.pid);
  socket.on('say', (text, told) => {
    socket.data.said = (socket.data.said ?? 0) + 1;
    io.emit('said', text, process.pid);
    told(socket.data.said);
  });
});

const handover = await serve(server, { port: Number(process.env.PORT ?? 8080) });

// At the switch, when nobody connects here any more: what the adapter keeps of sessions is in its memory.
handover.keep('sessions', async () => {
  await Promise.all([...sockets.values()].map(hangUp));
  return serialize({ sessions: adapter.sessions, packets: adapter.packets });
});
let isRestored = false;
handover.whenInCharge(() => {
  const kept = handover.inherited('sessions');
  // In charge again after a successor that failed, this process knows better.
  if (kept && !isRestored) {
    const { sessions, packets } = deserialize(kept.bytes());
    for (const [pid, session] of sessions) adapter.sessions.set(pid, session);
    adapter.packets.unshift(...packets);
  }
  isRestored = true;
  takeCharge();
});

// SIGTERM: whoever starts next finds them coming back.
handover.closing.addEventListener('abort', () => {
  for (const socket of sockets.values()) void hangUp(socket);
});

/** Closes the transport, which clients take for an interruption: they come back after a random delay. */
function hangUp(socket) {
  return new Promise((resolve) => {
    socket.once('disconnect', resolve);
    setTimeout(resolve, 1_000).unref();
    socket.conn.close();
  });
}
