// Fastify: the app makes its own server, which serve() takes instead of app.listen().
//
//   node examples/fastify.mjs         PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

import { setTimeout as pause } from 'node:timers/promises';
import fastify from 'fastify';
import { serve } from 'handover';

const app = fastify();
app.addHook('onRequest', async (_request, reply) => {
  reply.header('x-pid', process.pid);
});
app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request, body) => body);
app.get('/', async () => 'hello\n');
app.get('/slow', () => pause(300, 'hello, after 300 ms\n'));
app.post('/echo', async ({ body }) => body);

await app.ready();
const handover = await serve(app.server, { port: Number(process.env.PORT ?? 8080) });
// After the last request: app.close() refuses new ones, and runs the plugins' own onClose hooks.
handover.onClose('app', () => app.close());
