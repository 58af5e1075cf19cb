// G1, G2: unary and server-streaming calls through five handovers; not one fails.
import { type Client, credentials, makeClientConstructor, type ServiceError } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { type Answer, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { Example } from './example.js';

expectNoLeaks();
const programs = usePrograms();

interface Counted {
  readonly pid: number;
  readonly value: number;
}

const requestSerialize = (value: object): Buffer => Buffer.from(JSON.stringify(value));
const responseDeserialize = (bytes: Buffer): Counted => JSON.parse(bytes.toString());
const path = (name: string): string => `/examples.Counter/${name}`;

/** The service is made of nothing but paths and JSON. */
const CounterClient = makeClientConstructor({}, 'Counter');

function double(client: Client, value: number): Promise<Counted> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path('Double'),
      requestSerialize,
      responseDeserialize,
      { value },
      { deadline: Date.now() + 10_000 },
      (error: ServiceError | null, answer?: Counted) => (answer ? resolve(answer) : reject(error)),
    );
  });
}

/** All values of a stream; each must come from one process, in order. */
async function count(client: Client, to: number): Promise<Counted> {
  const deadline = { deadline: Date.now() + 10_000 };
  const stream = client.makeServerStreamRequest(path('Count'), requestSerialize, responseDeserialize, { to }, deadline);
  const counted: Counted[] = [];
  for await (const each of stream) counted.push(each as Counted);
  const isWhole = counted.length === to && counted.every(({ value }, i) => value === i);
  const [first] = counted;
  if (!first || !isWhole || new Set(counted.map(({ pid }) => pid)).size !== 1) {
    throw new Error(`a stream of ${to} came as ${JSON.stringify(counted)}`);
  }
  return first;
}

it('G2: five handovers: 0 failed calls, 0 streams cut', async () => {
  const example = await Example.start(programs, 'grpc.mjs');
  // Each with connections of its own.
  const clients = Array.from(
    { length: 3 },
    () =>
      new CounterClient(`127.0.0.1:${example.port}`, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      }),
  );
  onTestFinished(() => clients.forEach((client) => void client.close()));
  await using unary = new Load();
  await using streaming = new Load();
  const toAnswer = ({ pid }: Counted): Answer => ({ pid, body: Buffer.alloc(0) });
  for (const [i, client] of clients.entries()) {
    let value = i;
    const next = async (): Promise<Answer> => {
      const asked = value++;
      const answer = await double(client, asked);
      if (answer.value !== asked * 2) throw new Error(`twice ${asked} is not ${answer.value}`);
      return toAnswer(answer);
    };
    unary.loop(next, 20).loop(next, 20);
    streaming.loop(async () => toAnswer(await count(client, 25)), 20);
  }
  await unary.answered(example.current.pid, 20);
  for (let handover = 0; handover < 5; handover++) {
    await example.handOver(() => unary.answers.keys());
    await unary.answered(example.current.pid, 10);
  }
  await Promise.all([unary.stop(), streaming.stop()]);
  expect(unary.failures).toEqual([]);
  expect(streaming.failures).toEqual([]);
  expect(unary.answers.size).toBe(6);
  expect(streaming.answers.size).toBe(6);
  for (const client of clients) client.close();
  await example.stop();
});
