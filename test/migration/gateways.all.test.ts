// G2, G3: nginx and HAProxy in front, with connections they keep, through handovers under load: no error in their own
// logs and counts, none at the client, and the connections to the server are the ones they began with.

import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Pool } from 'undici';
import { describe, expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import type { Program } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { portOf } from './generations.js';
import { failureOf, handOver, loaded, poolLoad } from './loaded.js';
import { hasTool, needs, startTool, toolFolder } from './tools.js';

expectNoLeaks();
const { chain } = useApps();

const CLIENTS = 20;

const NGINX = `
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
{user}
events { worker_connections 256; }
http {
  log_format upstream '$status $upstream_status $upstream_addr';
  access_log {folder}/access.log upstream;
  # Larger bodies than these it writes to files, with a warning.
  client_body_buffer_size 64k;
  proxy_buffers 8 16k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream app {
    server 127.0.0.1:{app};
    keepalive 64;
    keepalive_requests 1000000;
  }
  server {
    listen unix:{folder}/socket;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # Nothing is tried twice behind our back.
      proxy_next_upstream off;
    }
  }
}
`;

const HAPROXY = `
global
  nbthread 1
  stats socket {folder}/stats level admin
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%ST %ts %rc"
  option http-keep-alive
  # The one that looks whether it listens.
  option dontlognull
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind unix@{folder}/socket
  default_backend back
backend back
  # By default it closes some of those it does not need, every five seconds.
  server app 127.0.0.1:{app} pool-purge-delay 1h
`;

interface Gateway {
  readonly program: Program;
  readonly folder: string;
  /** Where it listens. */
  readonly socketPath: string;
}

/** Starts one with this configuration in front of the app, and waits until it accepts. */
async function gateway(name: string, template: string, args: readonly string[], app: number): Promise<Gateway> {
  const folder = toolFolder();
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const values: Record<string, string> = { folder, app: `${app}`, user };
  const config = template.replace(/\{(folder|app|user)\}/g, (_, key: string) => values[key] ?? '');
  writeFileSync(join(folder, 'config'), config);
  const program = startTool(
    name,
    args.map((arg) => arg.replace('{folder}', folder)),
  );
  const socketPath = join(folder, 'socket');
  for (let isOpen = false; !isOpen; ) {
    const { exitCode } = program.child;
    if (exitCode !== null) throw new Error(`${name} ended with ${exitCode}:\n${program.stdout}${program.stderr}`);
    isOpen = await accepts(socketPath);
  }
  return { program, folder, socketPath };
}

async function accepts(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const nginx = (app: number): Promise<Gateway> =>
  gateway('nginx', NGINX, ['-p', '{folder}', '-e', '{folder}/error.log', '-c', '{folder}/config'], app);
const haproxy = (app: number): Promise<Gateway> => gateway('haproxy', HAPROXY, ['-db', '-f', '{folder}/config'], app);

interface Outcome {
  /** Requests that were answered, each whole and right. */
  readonly answered: number;
  /** Connections the app ever had. */
  readonly connections: number;
}

/** So many handovers under load that comes through the gateway; `atEnd` looks while it still runs. */
async function through(
  start: (app: number) => Promise<Gateway>,
  handovers: number,
  atEnd: (gateway: Gateway, outcome: Outcome) => Promise<void>,
  migrate = true,
): Promise<void> {
  const { chain: processes, first } = await chain(loaded({ migrate }));
  const gateway = await start(await portOf(first));
  const pool = new Pool('http://app', { socketPath: gateway.socketPath, connections: CLIENTS });
  const disconnects: string[] = [];
  pool.on('disconnect', (_origin, _targets, error) => disconnects.push(error.message));
  const load = poolLoad(pool, CLIENTS);
  const { apps, ports } = await handOver(processes, first, handovers, failureOf(load));
  await load.stop();
  expect([load.failures, disconnects]).toEqual([[], []]);
  expect([...load.answers.keys()]).toEqual(apps.map(({ pid }) => pid));
  await atEnd(gateway, { answered: load.total, connections: ports.size });
  await pool.destroy();
  // Its connections are idle: the app would wait for it.
  if (gateway.program.child.exitCode === null) await gateway.program.stop();
  await apps.at(-1)?.close();
}

/** Ends nginx, which writes its logs before, and looks into them. */
async function expectNoUpstreamErrors({ program, folder }: Gateway, answered: number): Promise<void> {
  expect(await program.stop('SIGQUIT')).toEqual({ code: 0, signal: null });
  const lines = readFileSync(join(folder, 'access.log'), 'utf8').trim().split('\n');
  expect(lines.filter((line) => !/^200 200 127\.0\.0\.1:\d+$/.test(line))).toEqual([]);
  expect(lines.length).toBe(answered);
  expect(readFileSync(join(folder, 'error.log'), 'utf8')).toBe('');
}

describe.runIf(hasTool('nginx'))(`nginx${needs('nginx')}`, () => {
  it('ten handovers', async () => {
    await through(nginx, 10, async (gateway, { answered, connections }) => {
      expect(connections).toBe(CLIENTS);
      await expectNoUpstreamErrors(gateway, answered);
    });
  }, 60_000);

  it('three handovers with migrate: false: new connections, and no errors either', async () => {
    const atEnd = async (gateway: Gateway, { answered, connections }: Outcome): Promise<void> => {
      expect(connections).toBeGreaterThan(CLIENTS);
      await expectNoUpstreamErrors(gateway, answered);
    };
    await through(nginx, 3, atEnd, false);
  }, 60_000);
});

it.runIf(hasTool('haproxy'))(
  `HAProxy: three handovers${needs('haproxy')}`,
  async () => {
    await through(haproxy, 3, async ({ program, folder }, { answered, connections }) => {
      const stats = connect(join(folder, 'stats')).end('show stat\n');
      const [names, ...rows] = (await text(stats))
        .trim()
        .split('\n')
        .map((row) => row.split(','));
      const [row] = rows.filter(([proxy, server]) => proxy === 'back' && server === 'app');
      const stat = (name: string): string | undefined => row?.[names?.indexOf(name) ?? -1];
      expect(['econ', 'eresp', 'wretr', 'wredis', 'srv_abrt'].map(stat)).toEqual(Array(5).fill('0'));
      expect([stat('connect'), stat('stot')]).toEqual([`${connections}`, `${answered}`]);
      expect(connections).toBe(CLIENTS);
      await until(() => program.stdout.split('\n').length > answered, { what: 'a line for each request' });
      const lines = program.stdout.trim().split('\n');
      // Status, how the session ended, retries.
      expect(lines.filter((line) => line !== '200 -- 0')).toEqual([]);
      expect(lines.length).toBe(answered);
    });
  },
  60_000,
);
