// A plain HTTP server that replaces itself without a client noticing.
//
//   node examples/http.mjs            PORT=8080 by default, LOG=1 or LOG=json to watch it on stderr
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk
//   kill -TERM <pid in charge>        finishes what it has begun and exits

import http from 'node:http';
import { serve } from 'handover';

const megabyte = Buffer.from(
  Array.from({ length: 131_072 }, (_, line) => `${String(line).padStart(7, '0')}\n`).join(''),
);

const server = http.createServer((request, response) => {
  response.setHeader('x-pid', process.pid);
  const answer = (body) => response.setHeader('content-length', Buffer.byteLength(body)).end(body);
  if (request.url === '/') answer('hello\n');
  else if (request.url === '/slow') setTimeout(answer, 300, 'hello, after 300 ms\n');
  else if (request.url === '/big') answer(megabyte);
  else response.writeHead(404).end();
});

// Any logger with pino's signature will do; this one writes JSON lines.
const line = (level) => (fields, msg) => process.stderr.write(`${JSON.stringify({ level, ...fields, msg })}\n`);
const json = { info: line('info'), warn: line('warn'), error: line('error') };

await serve(server, {
  port: Number(process.env.PORT ?? 8080),
  log: process.env.LOG === 'json' ? json : process.env.LOG === '1',
});
