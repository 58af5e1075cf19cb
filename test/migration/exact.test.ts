// G2, G3: random streams of requests, cut at random bytes, through handovers at random moments, answered exactly as
// without one: the same responses in the same order, on the same connection.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { generation, portOf } from './generations.js';
import { type Response, Wire } from './wire.js';

expectNoLeaks();
const { chain } = useApps();

interface Request {
  readonly bytes: Buffer;
  /** What the app answers. */
  readonly answer: Buffer;
}

const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const path = fc.stringMatching(/^\/x[a-z0-9]{0,20}$/);

const request: fc.Arbitrary<Request> = fc.oneof(
  path.map((url) => made('GET', url, '', Buffer.alloc(0), Buffer.alloc(0))),
  fc.tuple(path, body).map(([url, body]) => made('POST', url, `Content-Length: ${body.length}\r\n`, body, body)),
  fc.tuple(path, fc.array(body, { maxLength: 4 })).map(([url, chunks]) => {
    const filled = chunks.filter(({ length }) => length > 0);
    const parts = filled.map((chunk) =>
      Buffer.concat([latin1(`${chunk.length.toString(16)}\r\n`), chunk, latin1('\r\n')]),
    );
    const sent = Buffer.concat([...parts, latin1('0\r\n\r\n')]);
    return made('PUT', url, 'Transfer-Encoding: chunked\r\n', sent, Buffer.concat(filled));
  }),
);

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function made(method: string, url: string, headers: string, sent: Buffer, body: Buffer): Request {
  const head = latin1(`${method} ${url} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  return { bytes: Buffer.concat([head, sent]), answer: Buffer.concat([latin1(`${method} ${url} `), body]) };
}

/** One connection's life: requests, and where the stream of their bytes is cut. */
interface Script {
  readonly requests: readonly Request[];
  readonly pieces: readonly Buffer[];
  /** Whether it waits for what it asked for before it begins the next request. */
  readonly isPatient: boolean;
}

const script: fc.Arbitrary<Script> = fc
  .record({
    requests: fc.array(request, { minLength: 1, maxLength: 12 }),
    sizes: fc.oneof(
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 20 }),
    ),
    isPatient: fc.boolean(),
  })
  .map(({ requests, sizes, isPatient }) => ({ requests, pieces: cut(requests, sizes, isPatient), isPatient }));

/** The sizes in turn, again and again; a patient client's pieces end with each request. */
function cut(requests: readonly Request[], sizes: readonly number[], isPatient: boolean): Buffer[] {
  const streams = isPatient ? requests.map(({ bytes }) => bytes) : [Buffer.concat(requests.map(({ bytes }) => bytes))];
  let turn = 0;
  return streams.flatMap((stream) => {
    const pieces: Buffer[] = [];
    for (let at = 0; at < stream.length; ) {
      const size = sizes[turn++ % sizes.length] ?? 1;
      pieces.push(stream.subarray(at, at + size));
      at += size;
    }
    return pieces;
  });
}

/** Sends all of it and reads every answer; `onProgress` is told of each piece. */
async function play(
  client: Wire,
  { requests, pieces, isPatient }: Script,
  onProgress: () => void,
): Promise<Response[]> {
  const responses: Response[] = [];
  const ends = requests.map(
    (
      (sum) =>
      ({ bytes }: Request) =>
        (sum += bytes.length)
    )(0),
  );
  let sent = 0;
  for (const piece of pieces) {
    await new Promise<void>((resolve) => client.socket.write(piece, () => resolve()));
    sent += piece.length;
    onProgress();
    if (isPatient && ends.includes(sent)) responses.push(await client.response());
  }
  while (responses.length < requests.length) responses.push(await client.response());
  return responses;
}

/** A response without what differs between any two runs. */
const plain = ({ status, head, body }: Response): unknown => ({ status, head, body: body.toString('latin1') });

describe('random streams through handovers', () => {
  it.each([1, 2])('round %i: the same responses, in order, none closed', async (round) => {
    const { chain: processes, first } = await chain(generation({ server: { keepAliveTimeout: 60_000 } }));
    const port = await portOf(first);
    const seed = Date.now() + round;
    let app = first;
    let number = 1;
    const pids = new Set<number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(script, { minLength: 2, maxLength: 12 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 2 }),
        async (scripts, moments) => {
          const reference = await Promise.all(
            scripts.map(async (script) => {
              const client = new Wire(port);
              const responses = await play(client, script, () => {});
              client.close();
              return responses.map(plain);
            }),
          );
          const total = scripts.reduce((sum, { pieces }) => sum + pieces.length, 0);
          let progress = 0;
          const clients = scripts.map(() => new Wire(port));
          const played = Promise.all(scripts.map((script, i) => play(clients[i] as Wire, script, () => progress++)));
          played.catch(() => {});
          const handovers = (async () => {
            for (const moment of [...moments].sort()) {
              await until(() => progress >= moment * total, { what: 'the moment of the handover' });
              const predecessor = app;
              await app.upgrade();
              app = await processes.generation(++number);
              // Three at a time would be refused.
              expect(await predecessor.said('handover:drained')).toMatchObject({ cut: 0 });
              await predecessor.gone();
            }
          })();
          const [responses] = await Promise.all([played, handovers]);
          for (const [i, answers] of responses.entries()) {
            expect(answers.map(plain)).toEqual(reference[i]);
            expect(answers.map(({ body }) => body.toString('latin1'))).toEqual(
              scripts[i]?.requests.map(({ answer }) => answer.toString('latin1')),
            );
            for (const { pid } of answers) pids.add(pid);
          }
          // Wherever it is now, it is open, nothing more came, and it goes on in the process in charge.
          for (const client of clients) {
            expect([client.end, client.pending, client.connects]).toEqual([undefined, 0, 1]);
            expect((await client.ask('/xlast')).pid).toBe(app.pid);
            client.close();
          }
        },
      ),
      { numRuns: 8, seed, endOnFailure: true },
    );
    expect(pids.size).toBeGreaterThan(1);
    await app.close();
  }, 40_000);
});
