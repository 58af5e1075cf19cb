// Makes docs/report.png, the picture in README and docs/hammer.md: a report of `handover hammer` on the demo's server through three handovers.
//   node scripts/picture.mjs     (needs Chromium)
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('..', import.meta.url));
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find((path) => existsSync(path));
const scratch = mkdtempSync(join(tmpdir(), 'handover-picture-'));
const page = join(scratch, 'report.html');
const timeline = join(scratch, 'timelines');
const port = 18_080;

async function accepts() {
  const socket = net.connect(port, '127.0.0.1');
  const connected = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return connected;
}

/** Runs the load to its end. */
async function hammer() {
  const clients = ['--mix', 'keep-alive:20,new:4,idle:8,pipelined:2,half-sent:2', '--rate', '1000', '--idle', '1s'];
  const switches = ['--identify', 'header:x-pid', '--signal', 'identified', '--every', '3s', '--duration', '11s'];
  const report = ['--report', page, '--timeline', timeline, '--sla', '99.9'];
  const args = ['hammer', `http://127.0.0.1:${port}/`, ...clients, ...switches, ...report];
  const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await once(child, 'close');
}

/** Whoever still answers is told to end, until nobody does: a last handover may be under way. */
async function endServers() {
  while (await accepts()) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } }).catch(
      () => undefined,
    );
    const pid = Number(response?.headers.get('x-pid'));
    if (pid > 0 && existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGTERM');
    await pause(500);
  }
}

async function photograph() {
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath, args });
  const view = await browser.newPage({ viewport: { width: 800, height: 1_425 }, colorScheme: 'light' });
  await view.goto(pathToFileURL(page).href);
  await view.waitForSelector('[data-chart="latency"] canvas');
  mkdirSync(join(root, 'docs'), { recursive: true });
  await view.screenshot({ path: join(root, 'docs', 'report.png') });
  await browser.close();
}

const server = spawn(process.execPath, [join(root, 'bench/demo/app.mjs')], {
  env: { ...process.env, PORT: String(port), TIMELINE: timeline },
  stdio: 'ignore',
});
try {
  while (!(await accepts()) && server.exitCode === null) await pause(50);
  await hammer();
  await photograph();
} finally {
  await endServers();
  if (server.exitCode === null) server.kill();
  rmSync(scratch, { recursive: true, force: true });
}
