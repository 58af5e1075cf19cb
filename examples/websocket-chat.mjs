// A chat whose connections survive the replacement of its server: needs `npm install ws`.
//   node examples/websocket-chat.mjs            PORT=8080 by default; ws://localhost:8080/?name=ada
//   kill -USR2 <pid>                            hands over; no connection closes, and no message to the server is lost
// While it hands over the members are in two processes, and a text reaches those of one: a broker between them ends that.

import http from 'node:http';
import { serve } from 'handover';
import { isMigrated, migrateWebSockets } from 'handover/websocket';
import { WebSocketServer } from 'ws';

const server = http.createServer((_request, response) => response.end('connect by WebSocket\n'));
const wss = new WebSocketServer({ server });
/** What this process knows of each: it must not be lost. */
const members = new Map();

const tellAll = (text) => {
  for (const ws of wss.clients) ws.send(text);
};

wss.on('connection', (ws, request) => {
  const name = new URL(request.url, 'http://localhost').searchParams.get('name') ?? 'somebody';
  ws.on('message', (message) => {
    const member = members.get(ws);
    member.messages += 1;
    tellAll(`${member.name} (${member.messages}): ${message}`);
  });
  ws.on('close', () => members.delete(ws));
  // The upgrade of one that moved here runs once more: it has been welcomed, and restore() knows the rest.
  if (isMigrated(request)) return;
  members.set(ws, { name, messages: 0 });
  ws.send(`welcome, ${name}`);
});

await serve(server, {
  port: Number(process.env.PORT ?? 8080),
  log: process.env.LOG === '1',
  setup: (handover) =>
    migrateWebSockets(handover, wss, {
      save: (ws) => members.get(ws),
      restore: (ws, member) => members.set(ws, member),
    }),
});
