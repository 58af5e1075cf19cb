// node:cluster with a rolling restart on SIGUSR2, as it is written by hand: a new worker, and when it listens, the old one is
// told to end. Says `reloaded` on stderr.
import cluster from 'node:cluster';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

cluster.setupPrimary({ exec: fileURLToPath(new URL('listen.mjs', import.meta.url)) });

async function start() {
  const worker = cluster.fork();
  await once(worker, 'listening');
  return worker;
}

async function reload() {
  for (const old of Object.values(cluster.workers)) {
    await start();
    old.process.kill('SIGTERM');
    await once(old, 'exit');
  }
  process.stderr.write('reloaded\n');
}

process.on('SIGUSR2', () => void reload());
process.on('SIGTERM', async () => {
  const workers = Object.values(cluster.workers);
  for (const { process: worker } of workers) worker.kill('SIGKILL');
  process.exit(0);
});
for (let left = Number(process.argv[2]); left > 0; left--) await start();
process.stderr.write('serving\n');
