// Koa: serve() takes the server around the app's callback.
//
//   node examples/koa.mjs             PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

import http from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { serve } from 'handover';
import Koa from 'koa';

const app = new Koa();
app.use(async (context) => {
  context.set('x-pid', String(process.pid));
  if (context.path === '/') context.body = 'hello\n';
  if (context.path === '/slow') context.body = await pause(300, 'hello, after 300 ms\n');
  if (context.path === '/echo') context.body = await buffer(context.req);
});

await serve(http.createServer(app.callback()), { port: Number(process.env.PORT ?? 8080) });
