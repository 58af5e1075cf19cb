// What a handover cannot carry: state that a server keeps in the process, and writes as a whole (docs/is-my-app-ready.md).
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { installed, Served } from './served.js';

expectNoLeaks();
const { start } = usePrograms();

it('json-server: every write is acknowledged, none of them is refused; the file is what the last process remembers', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'db.json');
  writeFileSync(file, JSON.stringify({ posts: [] }));
  const served = await Served.start(start, {
    script: installed('json-server/lib/cli/bin.js'),
    args: (port) => [file, '--port', String(port), '--host', '127.0.0.1', '--quiet'],
  });
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const statuses: number[] = [];
  const state = { isOver: false };
  const writing = (async () => {
    while (!state.isOver) statuses.push(await post(agent, served.port));
  })();
  for (let i = 0; i < 3; i++) await served.handOver();
  state.isOver = true;
  await writing;
  await served.stop();
  expect(new Set(statuses)).toEqual(new Set([201]));
  const { posts } = JSON.parse(readFileSync(file, 'utf8')) as { posts: unknown[] };
  expect(posts.length).toBeLessThanOrEqual(statuses.length);
  process.stdout.write(`json-server: ${statuses.length} writes acknowledged, ${posts.length} in the file\n`);
}, 180_000);

function post(agent: Agent, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sent = request({ agent, port, host: '127.0.0.1', path: '/posts', method: 'POST', headers }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0));
    });
    sent.once('error', reject);
    sent.end('{"title":"a post"}');
  });
}
