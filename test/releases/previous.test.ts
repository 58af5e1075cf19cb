// G3, G9: the release before this one hands over to this one, and this one to it, with live connections of every protocol and
// under load. The tarball is the package of the commit in its name, packed by `npm pack` there.
import { expect, it } from 'vitest';
import { type App, type Boot, boot, type Chain, useApps } from '../handover/apps.js';
import { HttpConnection, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { LineClient } from '../migration/lines.js';
import { SocketWire } from '../migration/websockets.js';
import { Wire } from '../migration/wire.js';
import { install, WORKING_TREE } from './installed.js';

expectNoLeaks();
const apps = useApps();
const PREVIOUS = 'handover-0.1.0-05c17fd.tgz';
/** Of each protocol. */
const CLIENTS = 10;

/** HTTP, WebSockets that count, and lines that are counted; its successor is the program at `successor`. */
function generation(successor: string): Boot {
  return boot(async (inside, successor) => {
    const { WebSocketServer } = (await inside.load('ws')) as typeof import('ws');
    const websocket = (await inside.load('handover/websocket')) as typeof import('../../lib/websocket.js');
    const web = process.getBuiltinModule('node:http').createServer((request, response) => {
      const body = `${request.url}`;
      response.writeHead(200, { 'x-pid': process.pid, 'content-length': body.length }).end(body);
    });
    web.keepAliveTimeout = 60_000;
    const counts = new WeakMap<object, { count: number }>();
    const wss = new WebSocketServer({ server: web });
    wss.on('connection', (socket) => {
      counts.set(socket, { count: 0 });
      socket.on('message', () => socket.send(`${process.pid} ${++(counts.get(socket) as { count: number }).count}`));
    });
    const talk = (socket: import('node:net').Socket, state: { count: number }): void => {
      counts.set(socket, state);
      socket.on('data', () => socket.write(`${process.pid} ${++state.count}\n`)).on('error', () => {});
    };
    const lines = process.getBuiltinModule('node:net').createServer((socket) => talk(socket, { count: 0 }));
    await inside.open({ probation: 0, successor: { args: [successor] } });
    websocket.migrateWebSockets(inside.handover, wss, {
      save: (socket) => counts.get(socket),
      restore: (socket, state: { count: number }) => void counts.set(socket, state),
    });
    const local = { port: 0, host: '127.0.0.1' };
    inside.say('web', await inside.handover.listen(web, { name: 'web', ...local }));
    const migrate = { save: (socket: object) => counts.get(socket), restore: talk };
    inside.say('lines', await inside.handover.listen(lines, { name: 'lines', ...local, migrate } as never));
    await inside.handover.ready();
  }, successor);
}

async function portOf(app: App, name: string): Promise<number> {
  return (await app.said<{ address: { port: number } }>(name)).address.port;
}

interface Closable {
  /** How the server ended the connection. */
  readonly end: string | undefined;
  close(): void;
}

/** A client for each live connection, which says who answered it, and how often it has been answered. */
class Clients {
  readonly #ask: (() => Promise<string>)[] = [];
  readonly #wires: Closable[] = [];

  static async of(app: App): Promise<Clients> {
    const clients = new Clients();
    const [web, lines] = [await portOf(app, 'web'), await portOf(app, 'lines')];
    for (let i = 0; i < CLIENTS; i++) {
      const http = await new Wire(web).connected();
      let count = 0;
      clients.#add(http, async () => `${(await http.ask('/')).pid} ${++count}`);
      const chat = await new SocketWire(web).open();
      clients.#add(chat, () => chat.asked('hello'));
      const line = new LineClient({ port: lines, host: '127.0.0.1' });
      clients.#add(line, () => line.send('hello\n').line());
    }
    return clients;
  }

  #add(wire: Closable, ask: () => Promise<string>): void {
    this.#wires.push(wire);
    this.#ask.push(ask);
  }

  /** Each is answered by this process, for the `times`th time on its one connection. */
  async expectAnsweredBy(app: App, times: number): Promise<void> {
    const answers = await Promise.all(this.#ask.map((ask) => ask()));
    expect(new Set(answers)).toEqual(new Set([`${app.pid} ${times}`]));
    expect(this.#wires.map(({ end }) => end)).toEqual(this.#wires.map(() => undefined));
  }

  close(): void {
    for (const wire of this.#wires) wire.close();
  }
}

async function replace(chain: Chain['generation'], app: App, number: number): Promise<App> {
  await app.upgrade();
  expect(await app.said('handover:drained')).toMatchObject({ moved: 3 * CLIENTS, cut: 0 });
  const next = await chain(number);
  await next.booted;
  await app.process.gone();
  return next;
}

it('G1, G2, G3, G9: to this release and back, twice, with live connections and under load', async () => {
  const previous = install(PREVIOUS);
  const to = (path: string): Boot => generation(path);
  const order = [to(WORKING_TREE), to(previous), to(WORKING_TREE), to(previous), to(WORKING_TREE)];
  const { env, generation: nth } = await apps.dialled(order);
  apps.start(new URL(`file://${previous}`), { env });
  let app = await nth(1);
  await app.booted;
  const clients = await Clients.of(app);
  await clients.expectAnsweredBy(app, 1);
  const port = await portOf(app, 'web');
  await using load = new Load();
  load.loop(async () => {
    const client = new HttpConnection({ port, host: '127.0.0.1' });
    try {
      return await client.request('/', undefined, true);
    } finally {
      client.close();
    }
  }, 5);
  for (let number = 2; number <= 5; number++) {
    await load.answered(app.pid, 5);
    app = await replace(nth, app, number);
    await clients.expectAnsweredBy(app, number);
  }
  await load.answered(app.pid, 5);
  await load.stop();
  expect(load.failures).toEqual([]);
  clients.close();
  await app.close();
});
