// Real processes that hand their HTTP connections on, and what a test asks of them.
import { expect } from 'vitest';
import type { HandoverOptions } from '../../lib/index.js';
import { type App, type Boot, boot, type Chain } from '../handover/apps.js';
import { Wire } from './wire.js';

export interface Setting {
  readonly handover?: HandoverOptions;
  /** Properties of the http.Server. */
  readonly server?: Readonly<Record<string, number>>;
  /** The app answers `Expect: 100-continue` itself. */
  readonly checksContinue?: boolean;
  /** Signals itself at this frame, the n-th of its name. */
  readonly strike?: Strike;
}

export interface Strike {
  readonly direction: 'sent' | 'received';
  readonly name: string;
  readonly nth?: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
}

export const BIG_BYTES = 20_000_000;
/** What the app answers under `/big`: every place in it is told from its neighbours. */
export const BIG = Buffer.from(
  `${Array.from({ length: BIG_BYTES / 10 }, (_, i) => `${i}`.padStart(9, '.')).join('\n')}\n`,
);

/**
 * A generation: answers with its pid, the request line and the body it got; `/hold…` waits for `release`, `/early` does
 * not look at the body.
 */
export function generation({ handover = {}, server = {}, checksContinue = false, strike }: Setting = {}): Boot {
  return boot(
    async (inside, options, properties, checksContinue, strike) => {
      const http = process.getBuiltinModule('node:http');
      const held: { url: string; answer: () => void }[] = [];
      const answer = (response: import('node:http').ServerResponse, body: string | Buffer): void => {
        response.writeHead(200, { 'x-pid': process.pid, 'content-length': Buffer.byteLength(body) }).end(body);
      };
      const web = http.createServer(async (request, response) => {
        const { url = '', method } = request;
        if (url === '/big') {
          const lines = Array.from({ length: 2_000_000 }, (_, i) => `${i}`.padStart(9, '.'));
          return answer(response, `${lines.join('\n')}\n`);
        }
        if (url === '/close') response.setHeader('connection', 'close');
        if (url.startsWith('/early')) return answer(response, 'too early');
        if (url.startsWith('/hold')) {
          held.push({ url, answer: () => answer(response, `held ${url}`) });
          return inside.say('held', url);
        }
        let body = '';
        request.setEncoding('latin1');
        inside.say('request', url);
        for await (const chunk of request) {
          body += chunk;
          inside.say('body', body.length);
        }
        answer(response, Buffer.from(`${method} ${url} ${body}`, 'latin1'));
      });
      Object.assign(web, properties);
      web.on('connection', () => inside.say('connection'));
      const echo = (_: unknown, socket: import('node:stream').Duplex, head: Buffer): void => {
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Pid: ${process.pid}\r\n\r\n`,
        );
        socket.on('data', (bytes: Buffer) => socket.write(`${process.pid} ${bytes}`)).on('error', () => {});
        socket.on('end', () => socket.end());
        if (head.length > 0) socket.unshift(head);
      };
      web.on('upgrade', echo).on('connect', echo);
      if (checksContinue)
        web.on('checkContinue', (request, response) => {
          inside.say('expects', request.url);
          response.writeContinue();
          web.emit('request', request, response);
        });
      inside.kept.web = web;
      inside.kept.release = (count = held.length): void => {
        for (const { answer } of held.splice(0, count)) answer();
      };
      let frames = 0;
      process.getBuiltinModule('node:diagnostics_channel').subscribe('handover:frame', (message) => {
        const { direction, name } = message as { direction: string; name: string };
        if (direction !== strike?.direction || name !== strike.name) return;
        if (++frames === (strike.nth ?? 1)) process.kill(process.pid, strike.signal);
      });
      await inside.open({ probation: { duration: 0 }, drain: { timeout: 5_000 }, ...options });
      inside.say('listening', await inside.handover.listen(web, { name: 'web', port: 0, host: '127.0.0.1' }));
      await inside.handover.ready();
    },
    handover,
    server,
    checksContinue,
    strike ?? null,
  );
}

export async function portOf(app: App): Promise<number> {
  return (await app.said<{ address: { port: number } }>('listening')).address.port;
}

/** Answers what `/hold…` has waiting, the first so many. */
export async function release(app: App, count?: number): Promise<void> {
  await app.run(({ kept }, count) => (kept.release as (count?: number) => void)(count ?? undefined), count ?? null);
}

/** So many clients with an open connection; every other one has been answered before. */
export async function idle(app: App, count: number): Promise<Wire[]> {
  const port = await portOf(app);
  const clients = await Promise.all(Array.from({ length: count }, () => new Wire(port).connected()));
  for (const client of clients.filter((_, i) => i % 2 === 0)) expect((await client.ask('/first')).pid).toBe(app.pid);
  await app.said('connection', count);
  return clients;
}

/** Each is asked once more and answers as it should; the pids that did, in order. */
export async function answeredBy(clients: readonly Wire[], path = '/again'): Promise<number[]> {
  const answers = await Promise.all(clients.map((client, i) => client.ask(`${path}/${i}`)));
  for (const [i, { status, body }] of answers.entries()) {
    expect([status, body.toString()]).toEqual([200, `GET ${path}/${i} `]);
  }
  expect(clients.filter(({ pending, end, connects }) => pending > 0 || end !== undefined || connects !== 1)).toEqual(
    [],
  );
  return answers.map(({ pid }) => pid);
}

export interface Drained {
  readonly moved: number;
  readonly cut: number;
}

/** Hands over and waits until the old process has nothing left and is gone. */
export async function replace(chain: Chain, app: App, number: number): Promise<{ app: App; drained: Drained }> {
  await app.upgrade();
  const drained = await app.said<Drained>('handover:drained');
  await app.gone();
  return { app: await chain.generation(number), drained };
}
