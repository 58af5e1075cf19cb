// nginx and HAProxy as Debian ships them, each with one worker that answers by itself, in a folder that is removed.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Ending } from '../lib/ending.js';
import { allGone } from '../lib/processes.js';
import { answers, freePort, Program } from '../lib/program.js';
import type { Contestant, Entrant } from './contestant.js';

const PATIENCE = 10_000;

/** Where it is: nginx starts its new binary by the path it was started by. Daemons are in sbin, which is not in every PATH. */
function find(command: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
}

const NGINX = find('nginx');
const HAPROXY = find('haproxy');

function missing(command: string, path: string | undefined): string | undefined {
  return path === undefined ? `it is not installed: apt-get install ${command}` : undefined;
}

function nginxConfig(port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${of};`);
  return `worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 65s;
  keepalive_requests 1000000000;
  default_type text/plain;
  ${temporary.join('\n  ')}
  server {
    listen 127.0.0.1:${port};
    location / {
      add_header x-pid $pid;
      return 200 "hello\\n";
    }
  }
}
`;
}

/** As a daemon: only one whose parent is not its starter takes the signal to replace its binary (ngx_process.c). */
async function startNginx(ending: Ending, replace: (master: () => number) => Promise<void>): Promise<Contestant> {
  const port = await freePort();
  const folder = ending.folder();
  const pidFile = join(folder, 'nginx.pid');
  const pidOf = (file: string): number => Number(readFileSync(file, 'utf8'));
  ending.own({
    async end() {
      // In the middle of an upgrade there are two masters.
      const pids = [pidFile, `${pidFile}.oldbin`].filter((file) => existsSync(file)).map(pidOf);
      for (const pid of pids) process.kill(pid, 'SIGTERM');
      await allGone(pids, PATIENCE);
    },
  });
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(port));
  const args = ['-p', folder, '-e', 'error.log', '-c', 'nginx.conf'];
  await promisify(execFile)(NGINX ?? '', args, { timeout: PATIENCE });
  await answers(port);
  return {
    port,
    async trigger() {
      await replace(() => pidOf(pidFile));
      return {};
    },
  };
}

const nginxReload: Entrant = {
  name: 'nginx reload',
  replaces: 'process',
  missing: missing('nginx', NGINX),
  start: (ending) => startNginx(ending, async (master) => void process.kill(master(), 'SIGHUP')),
};

/** As nginx.org/en/docs/control.html has it: the new binary beside the old one, then the old master is told to finish. */
const nginxUpgrade: Entrant = {
  name: 'nginx binary upgrade',
  replaces: 'process',
  missing: missing('nginx', NGINX),
  start: (ending) =>
    startNginx(ending, async (master) => {
      const old = master();
      process.kill(old, 'SIGUSR2');
      await until(() => {
        try {
          return master() !== old;
        } catch {
          return false; // between the renaming of the old file and the writing of the new one
        }
      });
      process.kill(old, 'SIGQUIT');
      await allGone([old], PATIENCE);
    }),
};

function haproxyConfig(port: number, socket: string): string {
  return `global
  master-worker
  nbthread 1
  stats socket ${socket} mode 600 level admin expose-fd listeners
  hard-stop-after 5s
defaults
  mode http
  timeout client 65s
  timeout http-keep-alive 65s
  timeout connect 5s
  timeout server 65s
frontend web
  bind 127.0.0.1:${port}
  http-request return status 200 content-type text/plain string "hello\\n" hdr x-pid "%pid"
`;
}

const haproxyReload: Entrant = {
  name: 'HAProxy seamless reload',
  replaces: 'process',
  missing: missing('haproxy', HAPROXY),
  async start(ending) {
    const port = await freePort();
    const folder = ending.folder();
    const config = join(folder, 'haproxy.cfg');
    writeFileSync(config, haproxyConfig(port, join(folder, 'haproxy.sock')));
    const program = ending.own(new Program({ command: HAPROXY ?? '', args: ['-W', '-f', config] }));
    await answers(port);
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2');
        return {};
      },
    };
  },
};

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`nothing came of it within ${PATIENCE} ms`);
    await sleep(1);
  }
}

export const DAEMONS: readonly Entrant[] = [nginxReload, nginxUpgrade, haproxyReload];
