// The app as a process that replaces itself, and as a worker of `handover run`.
import { subscribe } from 'node:diagnostics_channel';
import process from 'node:process';
import { serve } from 'handover';
import { createServer, mark } from './app.mjs';

subscribe('handover:spawn', ({ startedAt }) => {
  const ago = performance.timeOrigin + performance.now() - startedAt;
  mark('spawn', process.hrtime.bigint() - BigInt(Math.round(ago * 1e6)));
});
const server = createServer().once('connection', () => mark('accepted'));
await serve(server, { port: Number(process.env.PORT), host: '127.0.0.1' });
mark('accepting');
