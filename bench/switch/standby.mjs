// The app with a successor that waits: SIGHUP prepares it, SIGUSR2 commits it. While it waits it asks itself, so that the
// first requests do not find cold code: that is what the option `warmup` is for.
import { once } from 'node:events';
import http from 'node:http';
import process from 'node:process';
import { openHandover } from 'handover';
import { createServer, mark } from '../workers/app.mjs';

const WARMING = 300;

async function warmup() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent = new http.Agent({ keepAlive: true });
  for (let asked = 0; asked < WARMING; asked++) {
    // Every other one on a connection of its own: those are accepted, too.
    const request = http.get({
      port: server.address().port,
      host: '127.0.0.1',
      ...(asked % 2 ? { agent } : { agent: false }),
    });
    const [response] = await once(request, 'response');
    await once(response.resume(), 'close');
  }
  agent.destroy();
  server.close();
}

const handover = await openHandover({ warmup });
let standby;
process.on('SIGHUP', async () => {
  standby = await handover.prepare();
  mark('prepared');
});
process.once('SIGUSR2', () => {
  mark('commit');
  void standby.commit();
});
process.once('SIGTERM', () => handover.close());
const server = createServer().once('connection', () => mark('accepted'));
await handover.listen(server, { port: Number(process.env.PORT), host: '127.0.0.1' });
await handover.ready();
mark('accepting');
await handover.closed;
process.exit(0);
