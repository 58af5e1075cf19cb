// The server under demonstration: examples/http.mjs, and WebSockets that echo and number what they echo.
//
//   PORT, LOG=json as there; it also says how many connections were open when it was superseded. TIMELINE=DIR records handovers.

import http from 'node:http';
import process from 'node:process';
import { serve } from 'handover';
import { isMigrated, migrateWebSockets } from 'handover/websocket';
import { WebSocketServer } from 'ws';

const megabyte = Buffer.from(
  Array.from({ length: 131_072 }, (_, line) => `${String(line).padStart(7, '0')}\n`).join(''),
);

// Node's default of 5 s for idle connections is no doing of a handover: the held ones are asked less often than that.
const server = http.createServer({ keepAliveTimeout: 300_000 }, (request, response) => {
  response.setHeader('x-pid', process.pid);
  const answer = (body) => response.setHeader('content-length', Buffer.byteLength(body)).end(body);
  if (request.url === '/') answer('hello\n');
  else if (request.url === '/slow') setTimeout(answer, 300, 'hello, after 300 ms\n');
  else if (request.url === '/big') answer(megabyte);
  else response.writeHead(404).end();
});

const wss = new WebSocketServer({ server, perMessageDeflate: false });
/** Messages to each client so far: the next process goes on counting. */
const sent = new Map();
wss.on('connection', (ws, request) => {
  if (!isMigrated(request)) sent.set(ws, 0);
  ws.on('close', () => sent.delete(ws));
  ws.on('message', (message) => {
    const number = sent.get(ws) + 1;
    sent.set(ws, number);
    ws.send(`${number} ${message}`);
  });
});

const say = (fields) => process.stderr.write(`${JSON.stringify({ pid: process.pid, ...fields })}\n`);
const line = (level) => (fields, msg) => say({ level, ...fields, msg });

await serve(server, {
  port: Number(process.env.PORT ?? 8080),
  log: { info: line('info'), warn: line('warn'), error: line('error') },
  ...(process.env.TIMELINE && { timeline: { directory: process.env.TIMELINE } }),
  setup(handover) {
    migrateWebSockets(handover, wss, {
      save: (ws) => sent.get(ws),
      restore: (ws, number) => sent.set(ws, number),
    });
    handover.closing.addEventListener('abort', () => {
      server.getConnections((_error, open) => say({ event: 'closing', generation: handover.generation, open }));
    });
  },
});
