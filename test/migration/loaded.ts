// A server for clients that ask as fast as they can: it does not tell the test of each request, only what a test waits
// for and counts, and every answer is made of its request.
import type { Pool } from 'undici';
import type { HandoverOptions } from '../../lib/index.js';
import { type App, type Boot, boot, type Chain } from '../handover/apps.js';
import { Load } from '../handover/clients.js';
import type { Drained } from './generations.js';

/** Where the server listens. */
export type Address = { readonly port: 0; readonly host: string } | { readonly path: string };

const LOCAL: Address = { port: 0, host: '127.0.0.1' };

/** Says `answered` each time it has answered so many requests. */
export const ANSWERED_EACH = 100;

/**
 * A generation: answers with its pid, the request line and the body it got, after up to 20 ms, so that as many requests
 * wait in it as there are clients; `/now…` at once. Says `port` for each client port it sees.
 */
export function loaded(handover: HandoverOptions = {}, address = LOCAL): Boot {
  return boot(
    async (inside, each, options, address) => {
      const http = process.getBuiltinModule('node:http');
      const ports = new Set<number | undefined>();
      let count = 0;
      const web = http.createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
        const { url = '', method, socket } = request;
        if (!ports.has(socket.remotePort)) {
          ports.add(socket.remotePort);
          inside.say('port', socket.remotePort);
        }
        let body = `${method} ${url} `;
        for await (const chunk of request.setEncoding('latin1')) body += chunk;
        if (!url.startsWith('/now')) await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        response.writeHead(200, { 'x-pid': process.pid, 'content-length': Buffer.byteLength(body, 'latin1') });
        response.end(body, 'latin1');
        if (++count % each === 0) inside.say('answered', count);
      });
      await inside.open({ probation: { duration: 0 }, drain: { timeout: 10_000 }, ...options });
      inside.say('listening', await inside.handover.listen(web, { name: 'web', ...address }));
      await inside.handover.ready();
    },
    ANSWERED_EACH,
    handover,
    address,
  );
}

/** What a load went through. */
export interface Passage {
  /** Every process of the chain, in order. */
  readonly apps: readonly App[];
  /** The client ports all of them have seen: one for each connection there ever was. */
  readonly ports: ReadonlySet<number>;
}

/**
 * So many handovers under a load that somebody else makes: each begins when the process in charge has answered a few
 * hundred requests, and at the end the last one has, too. `unless` rejects when the load has failed.
 */
export async function handOver(chain: Chain, first: App, handovers: number, unless: Promise<never>): Promise<Passage> {
  unless.catch(() => {});
  return Promise.race([unless, passage(chain, first, handovers)]);
}

async function passage(chain: Chain, first: App, handovers: number): Promise<Passage> {
  const apps = [first];
  for (let number = 2; ; number++) {
    const app = apps.at(-1) as App;
    await app.said('answered', 3);
    if (apps.length > handovers) break;
    await app.upgrade();
    apps.push(await chain.generation(number));
    const { cut } = await app.said<Drained>('handover:drained');
    if (cut > 0) throw new Error(`process ${app.pid} cut ${cut} connections`);
    await app.gone();
  }
  return { apps, ports: new Set(apps.flatMap((app) => app.allSaid('port') as number[])) };
}

/** Requests with and without a body through an undici pool, so many at a time; each answer must be the right one, whole. */
export function poolLoad(pool: Pool, concurrency: number): Load {
  const load = new Load();
  let count = 0;
  for (let i = 0; i < concurrency; i++) {
    load.loop(async () => {
      const id = count++;
      const body = id % 3 === 0 ? Buffer.alloc(1 + ((id * 37) % 20_000), `${id} `) : undefined;
      const method = body ? 'POST' : 'GET';
      const response = await pool.request({ path: `/${id}`, method, ...(body && { body }) });
      const answer = Buffer.from(await response.body.arrayBuffer());
      const isRight = answer.equals(Buffer.concat([Buffer.from(`${method} /${id} `), body ?? Buffer.alloc(0)]));
      if (response.statusCode !== 200 || !isRight) {
        throw new Error(`/${id}: ${response.statusCode}, ${answer.length} bytes: ${answer.subarray(0, 200)}`);
      }
      return { pid: Number(response.headers['x-pid']), body: answer };
    });
  }
  return load;
}

/** Rejects when the load has met its first failure. */
export async function failureOf(load: Load): Promise<never> {
  await load.answered(-1, 1);
  throw new Error('no process has this pid');
}
