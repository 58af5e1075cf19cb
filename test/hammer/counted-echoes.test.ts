// WebSockets whose server counts: each echo has its number on the connection before it, and what does not is a loss.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { Fleet } from '../../dist/hammer/fleet.js';
import type { Plan } from '../../dist/hammer/plan.js';
import type { Counts } from '../../dist/hammer/tally.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const MESSAGES = 6;
const NO_CLIENTS = { 'keep-alive': 0, new: 0, idle: 0, pipelined: 0, 'half-sent': 0 };

/** What a client counts of a server that answers the `count`th message of a connection so. */
async function drive(answer: (socket: WebSocket, message: string, count: number) => void): Promise<Counts> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  server.on('connection', (socket) => {
    let count = 0;
    socket.on('message', (message) => answer(socket, String(message), ++count));
  });
  const { port } = server.address() as AddressInfo;
  const plan: Plan = {
    target: { isTls: false, host: '127.0.0.1', port, resumes: false },
    request: { method: 'GET', path: '/', webSocketPath: '/', countsEchoes: true, authority: 'test', headers: [] },
    expectation: { statuses: [[200, 200]] },
    mix: { ...NO_CLIENTS, websocket: 1 },
    threads: 1,
    duration: 10_000,
    requests: MESSAGES,
    think: 100,
    idle: 0,
    halfPause: 0,
    depth: 1,
    answerTimeout: 5_000,
    connectTimeout: 5_000,
  };
  const fleet = new Fleet(plan, () => {});
  try {
    await fleet.ready();
    fleet.start();
    await fleet.done;
  } finally {
    await fleet.end();
  }
  return fleet.totals.counts;
}

/** Of all, whatever its connection. */
function isThird(message: string): boolean {
  return message.endsWith(' 3');
}

test('all there, and news of the server between them', async () => {
  const counts = await drive((socket, message, count) => {
    socket.send('news');
    socket.send(`${count} ${message}`);
  });
  expect(counts).toMatchObject({ ok: MESSAGES, lost: 0, unasked: 0, opened: 1 });
});

test('one that comes twice is a loss of its own', async () => {
  const counts = await drive((socket, message, count) => {
    socket.send(`${count} ${message}`);
    if (isThird(message)) socket.send(`${count} ${message}`);
  });
  expect(counts).toMatchObject({ ok: MESSAGES, lost: 1, unasked: 1, opened: 2 });
});

test.each([
  ['a server that has forgotten its count', (message: string) => `1 ${message}`],
  ['a server whose state is gone', (message: string) => `NaN ${message}`],
  ['a server that has answered another message between', (message: string) => `4 ${message}`],
  ['the echo of an older message', (message: string) => `3 ${message.replace(/\d+$/, '1')}`],
])('%s', async (_, wrong) => {
  const counts = await drive((socket, message, count) => {
    socket.send(isThird(message) ? wrong(message) : `${count} ${message}`);
  });
  expect(counts).toMatchObject({ ok: MESSAGES - 1, lost: 1, unasked: 0, opened: 2 });
});
