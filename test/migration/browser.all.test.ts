// G2, G3: a page in a browser through three handovers. Its fetches and its WebSocket notice nothing; its EventSource reconnects once for
// each, because the app ends the stream when it is superseded, and misses no event.
import { readFileSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { type App, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Drained, portOf } from './generations.js';
import { findTool } from './tools.js';

expectNoLeaks();
const { chain } = useApps();

const HANDOVERS = 3;
const PAGE = readFileSync(new URL('fixtures/page.html', import.meta.url), 'utf8');
const executablePath = findTool('chromium');

/** What fixtures/page.html counts. */
interface Seen {
  readonly fetches: number;
  readonly byFetch: Readonly<Record<string, number>>;
  readonly events: readonly number[];
  readonly byEvent: Readonly<Record<string, number>>;
  readonly reconnects: number;
  readonly messages: number;
  readonly byMessage: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

/** Says `connection`, with the client's port, for each that came or was moved here and used. */
const site = boot(async (inside, page) => {
  const http = process.getBuiltinModule('node:http');
  type Response = import('node:http').ServerResponse;

  /** An event for every 20 ms there are, on whichever process: the id is the time. */
  const stream = (lastId: number | undefined, response: Response): void => {
    const now = (): number => Math.floor(Date.now() / 20);
    let next = lastId === undefined ? now() : lastId + 1;
    const tell = (): void => {
      for (; next <= now(); next++) response.write(`id: ${next}\ndata: ${process.pid}\n\n`);
    };
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write('retry: 50\n\n');
    const timer = setInterval(tell, 20);
    response.once('close', () => clearInterval(timer));
    // The successor goes on where this one ends.
    inside.handover.closing.addEventListener('abort', () => response.end(), { once: true });
    if (inside.handover.closing.aborted) response.end();
  };

  const web = http.createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
    const { url = '', headers } = request;
    if (url.startsWith('/events')) {
      const { 'last-event-id': id } = headers;
      return stream(id === undefined ? undefined : Number(id), response);
    }
    if (!url.startsWith('/fetch')) return response.setHeader('content-type', 'text/html').end(page);
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    response.setHeader('x-pid', process.pid).end(`${url} ${body}`);
  });
  web.on('connection', (socket) => inside.say('connection', socket.remotePort));
  await inside.open({ probation: { duration: 0 }, drain: { timeout: 10_000 } });
  const { WebSocketServer } = (await inside.load('ws')) as typeof import('ws');
  const { migrateWebSockets } = (await inside.load('handover/websocket')) as typeof import('../../lib/websocket.js');
  const wss = new WebSocketServer({ server: web, path: '/ws' });
  wss.on('connection', (socket) => socket.on('message', (data) => socket.send(`${data} ${process.pid}`)));
  migrateWebSockets(inside.handover, wss, { save: () => null, restore: () => {} });
  inside.say('listening', await inside.handover.listen(web, { name: 'web', port: 0, host: '127.0.0.1' }));
  await inside.handover.ready();
}, PAGE);

async function open(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(url);
  return page;
}

/** Waits until this process has answered the page in all the ways it asks. */
async function served(page: Page, { pid }: App): Promise<void> {
  const hasAll = `seen.byFetch[${pid}] > 20 && seen.byEvent[${pid}] > 5 && seen.byMessage[${pid}] > 5`;
  await page.waitForFunction(`seen.failures.length > 0 || (${hasAll})`);
}

it.runIf(executablePath)(
  'Chromium: fetch with keep-alive, a WebSocket, and an EventSource',
  async () => {
    const { chain: processes, first } = await chain(site);
    const port = await portOf(first);
    // Its sandbox does not run as root.
    const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    await using browser = await chromium.launch({ executablePath: executablePath as string, args });
    const page = await open(browser, `http://127.0.0.1:${port}/?websocket`);
    const apps = [first];
    await served(page, first);
    for (let number = 2; number <= HANDOVERS + 1; number++) {
      const predecessor = apps.at(-1) as App;
      await predecessor.upgrade();
      const app = await processes.generation(number);
      apps.push(app);
      await served(page, app);
      expect(await predecessor.said<Drained>('handover:drained')).toMatchObject({ cut: 0 });
      await predecessor.gone();
    }
    const { failures, byFetch, byEvent, byMessage, events, reconnects } = await page.evaluate<Seen>('finish()');
    expect(failures).toEqual([]);
    const pids = apps.map(({ pid }) => `${pid}`);
    for (const by of [byFetch, byEvent, byMessage]) expect(Object.keys(by).sort()).toEqual(pids.toSorted());
    expect(reconnects).toBeLessThanOrEqual(HANDOVERS);
    expect(events).toEqual(events.map((_, i) => (events[0] ?? 0) + i));
    // A browser sends a request again, unasked, where a connection it kept turns out to be closed: so none may be new.
    const [before, after] = [apps.slice(0, 1), apps].map(
      (some) => new Set(some.flatMap((app) => app.allSaid('connection'))),
    );
    expect(after).toEqual(before);
    await browser.close();
    await apps.at(-1)?.close();
  },
  60_000,
);
