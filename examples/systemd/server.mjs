// An HTTP server for the units beside this file: systemd knows when it is ready, who its main process is after a
// handover, and keeps its socket while it crashes or restarts.

import http from 'node:http';
import { serve } from 'handover';

const server = http.createServer((request, response) => {
  response.setHeader('x-pid', process.pid);
  const answer = () => response.setHeader('content-length', 6).end('hello\n');
  if (request.url === '/slow') setTimeout(answer, 300);
  else answer();
});

// By its name it claims the socket that web.socket or systemd's store passes along; otherwise it binds the port.
await serve(server, { name: 'web', port: Number(process.env.PORT ?? 8080), systemd: { fdstore: true }, log: true });
