// Express: the app is a request listener, and serve() takes the server around it.
//
//   node examples/express.mjs         PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

import http from 'node:http';
import express from 'express';
import { serve } from 'handover';

const app = express();
app.use((_request, response, next) => {
  response.set('x-pid', process.pid);
  next();
});
app.get('/', (_request, response) => response.send('hello\n'));
app.get('/slow', (_request, response) => setTimeout(() => response.send('hello, after 300 ms\n'), 300));
app.post('/echo', express.raw({ type: () => true, limit: '1mb' }), (request, response) => response.send(request.body));

await serve(http.createServer(app), { port: Number(process.env.PORT ?? 8080) });
