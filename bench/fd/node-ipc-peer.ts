// The receiving process of node-ipc.ts: closes each socket, answers after the last of a burst.
import type { Socket } from 'node:net';

process.on('message', (left: number, socket: Socket) => {
  socket.destroy();
  if (left === 1) process.send?.('done');
});
