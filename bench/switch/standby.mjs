// The app with a successor that waits: SIGHUP prepares it, SIGUSR2 commits it.
import process from 'node:process';
import { openHandover } from 'handover';
import { createServer, mark } from '../workers/app.mjs';

const handover = await openHandover();
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
await handover.listen(createServer(), { port: Number(process.env.PORT), host: '127.0.0.1' });
await handover.ready();
mark('accepting');
await handover.closed;
process.exit(0);
