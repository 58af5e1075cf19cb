// What never ends by itself ends by the app's own hint: server-sent events and long polls, whose client comes again at
// once, to the successor, and misses nothing.
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Drained, portOf } from './generations.js';

expectNoLeaks();
const { chain } = useApps();

/** An app that counts, as docs/connections.md shows it: one generation makes events, the next knows them. */
const counting = (migrate: boolean) =>
  boot(async (inside, migrate) => {
    const handover = await inside.open({ probation: { duration: 0 }, drain: { timeout: 20_000 }, migrate });
    type Response = import('node:http').ServerResponse;
    const streams = new Set<Response>();
    const polls = new Set<{ after: number; response: Response }>();
    const log: number[] = [];
    const send = (stream: Response, id: number) => stream.write(`id: ${id}\ndata: ${id} of ${process.pid}\n\n`);
    const answer = (response: Response, after: number) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(log.slice(after)));
    const server = process.getBuiltinModule('node:http').createServer((request, response) => {
      if (request.url === '/events') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (const id of log.slice(Number(request.headers['last-event-id'] ?? 0))) send(response, id);
        streams.add(response);
        response.on('close', () => streams.delete(response));
      } else {
        const after = Number(request.url?.split('=')[1]);
        if (after < log.length) answer(response, after);
        else polls.add({ after, response });
      }
      // Superseded while it came.
      if (handover.closing.aborted) end();
    });
    const end = (): void => {
      for (const stream of streams) stream.end();
      for (const { response, after } of polls) answer(response, after);
      polls.clear();
    };
    handover.closing.addEventListener('abort', end);
    handover.keep('log', () => Buffer.from(JSON.stringify(log)));
    handover.whenInCharge((signal) => {
      const former = handover.inherited('log')?.bytes();
      if (former) log.unshift(...(JSON.parse(former.toString()) as number[]));
      const timer = setInterval(() => {
        log.push(log.length + 1);
        for (const stream of streams) send(stream, log.length);
        for (const { response, after } of polls) answer(response, after);
        polls.clear();
      }, 5);
      signal.addEventListener('abort', () => clearInterval(timer));
    });
    inside.say('listening', await handover.listen(server, { name: 'web', port: 0, host: '127.0.0.1' }));
    await handover.ready();
  }, migrate);

/** Comes again whenever a stream ends, with the last id it has, as a browser's EventSource does. */
class EventSource {
  readonly ids: number[] = [];
  readonly pids = new Set<number>();
  readonly failures: string[] = [];
  connects = 0;
  isClosed = false;

  async run(port: number, agent: Agent): Promise<void> {
    while (!this.isClosed && this.failures.length === 0) {
      this.connects += 1;
      const request = get({
        port,
        host: '127.0.0.1',
        agent,
        path: '/events',
        headers: { 'last-event-id': this.ids.length },
      });
      try {
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        response.setEncoding('utf8');
        let rest = '';
        for await (const chunk of response) {
          const events = (rest + chunk).split('\n\n');
          rest = events.pop() ?? '';
          for (const event of events) this.#take(event);
          if (this.isClosed) break;
        }
        if (rest !== '') this.failures.push(`half an event: ${rest}`);
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }

  #take(event: string): void {
    const [, id, pid] = /^id: (\d+)\ndata: \d+ of (\d+)$/.exec(event) ?? [];
    this.ids.push(Number(id));
    this.pids.add(Number(pid));
  }
}

class LongPoll {
  readonly ids: number[] = [];
  readonly failures: string[] = [];
  isClosed = false;

  async run(port: number, agent: Agent): Promise<void> {
    while (!this.isClosed && this.failures.length === 0) {
      try {
        const request = get({ port, host: '127.0.0.1', agent, path: `/poll?after=${this.ids.length}` });
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        let body = '';
        for await (const chunk of response.setEncoding('utf8')) body += chunk;
        this.ids.push(...(JSON.parse(body) as number[]));
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }
}

it.each([
  true,
  false,
] as const)('G2, migrate: %s: events and long polls end on closing, their clients miss nothing', async (migrate) => {
  const { chain: processes, first } = await chain(counting(migrate));
  const port = await portOf(first);
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const sources = [new EventSource(), new EventSource()];
  const poll = new LongPoll();
  const running = Promise.all([...sources, poll].map((client) => client.run(port, agent)));
  const seen = (count: number) =>
    until(() => [...sources, poll].every(({ ids }) => ids.length >= count), { what: `${count} events` });
  await seen(20);
  let app = first;
  for (const generation of [2, 3]) {
    const start = performance.now();
    await app.upgrade();
    expect(await app.said<Drained>('handover:drained')).toMatchObject({ cut: 0 });
    await app.gone();
    // Long before the hard stop.
    expect(performance.now() - start).toBeLessThan(15_000);
    app = await processes.generation(generation);
    await seen(Math.max(...[...sources, poll].map(({ ids }) => ids.length)) + 20);
  }
  for (const client of [...sources, poll]) client.isClosed = true;
  await running;
  agent.destroy();
  await app.close();
  for (const client of [...sources, poll]) {
    expect(client.failures).toEqual([]);
    expect(client.ids).toEqual(client.ids.map((_, i) => i + 1));
  }
  for (const { pids } of sources) expect(pids.size).toBe(3);
});
