// Hono: its adaptor makes a server of Node's around the app, and serve() takes it.
//
//   node examples/hono.mjs            PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

import { setTimeout as pause } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { serve } from 'handover';
import { Hono } from 'hono';

const app = new Hono();
app.use(async (context, next) => {
  context.header('x-pid', String(process.pid));
  await next();
});
app.get('/', (context) => context.text('hello\n'));
app.get('/slow', async (context) => context.text(await pause(300, 'hello, after 300 ms\n')));
app.post('/echo', async (context) => {
  const body = await context.req.arrayBuffer();
  return context.body(body, 200, { 'content-length': String(body.byteLength) });
});

await serve(createAdaptorServer({ fetch: app.fetch }), { port: Number(process.env.PORT ?? 8080) });
