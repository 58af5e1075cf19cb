// pm2 with its daemon in this process, one worker of the app in cluster mode; SIGUSR2 reloads it. Its own command would
// add the start of another Node to every reload.
import process from 'node:process';
import { promisify } from 'node:util';
import pm2 from 'pm2';

const call = (name, ...args) => promisify(pm2[name].bind(pm2))(...args);

await call('connect', true);
await call('start', { script: process.argv[2], name: 'app', instances: 1, exec_mode: 'cluster', autorestart: false });
process.stderr.write('serving\n');
process.on('SIGUSR2', async () => {
  await call('reload', 'app');
  process.stderr.write('reloaded\n');
});
process.once('SIGTERM', async () => {
  await call('delete', 'all').catch(() => {});
  await call('killDaemon').catch(() => {});
  process.exit(0);
});
