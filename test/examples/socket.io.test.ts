// Socket.IO: a client is told to come back, and comes back to its session.
import { setTimeout as pause } from 'node:timers/promises';
import { io, type Socket } from 'socket.io-client';
import { expect, it, onTestFinished } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { Example } from './example.js';

expectNoLeaks();
const programs = usePrograms();

class Listener {
  readonly socket: Socket;
  /** What it heard, in order. */
  readonly heard: number[] = [];
  readonly speakers = new Set<number>();
  readonly reasons: string[] = [];
  readonly recovered: boolean[] = [];
  /** Resolves with the first packet, from which on it can be recovered. */
  readonly welcome: Promise<void>;

  constructor(port: number) {
    this.socket = io(`http://127.0.0.1:${port}`, {
      transports: ['websocket'],
      forceNew: true,
      reconnectionDelay: 100,
      retries: 5,
      ackTimeout: 5_000,
    });
    this.welcome = new Promise((resolve) => this.socket.once('welcome', () => resolve()));
    this.socket.on('said', (text: number, pid: number) => {
      this.heard.push(text);
      this.speakers.add(pid);
    });
    this.socket.on('connect', () => this.recovered.push(this.socket.recovered));
    this.socket.on('disconnect', (reason) => this.reasons.push(reason));
  }
}

it('two handovers: every client is back with its id, its data and every message, each once', async () => {
  const example = await Example.start(programs, 'socket.io.mjs');
  const clients = Array.from({ length: 3 }, () => new Listener(example.port));
  onTestFinished(() => clients.forEach(({ socket }) => void socket.disconnect()));
  await Promise.all(clients.map(({ welcome }) => welcome));
  const [speaker, ...listeners] = clients as [Listener, ...Listener[]];
  const ids = clients.map(({ socket }) => socket.id);

  let said = 0;
  let counted = 0;
  let isSpeaking = true;
  const speaking = (async () => {
    while (isSpeaking) {
      counted = (await speaker.socket.emitWithAck('say', said++)) as number;
      await pause(20);
    }
  })();
  for (let handover = 0; handover < 2; handover++) {
    const back = clients.map(({ recovered }) => recovered.length + 1);
    await example.handOver(() => [example.program.pid, ...speaker.speakers]);
    await until(() => clients.every(({ recovered }, i) => recovered.length >= (back[i] ?? 0)), {
      what: `clients to come back: ${JSON.stringify(clients.map(({ reasons }) => reasons))}`,
      interval: 10,
    });
  }
  isSpeaking = false;
  await speaking;
  await until(() => clients.every(({ heard }) => heard.includes(said - 1)), { what: 'the last message', interval: 10 });

  expect(clients.map(({ recovered }) => recovered)).toEqual(clients.map(() => [false, true, true]));
  expect(clients.map(({ socket }) => socket.id)).toEqual(ids);
  // A message is told again where its acknowledgement was lost with the connection: at least once.
  for (const { heard } of listeners) {
    expect([...new Set(heard)]).toEqual(Array.from({ length: said }, (_, i) => i));
    expect(heard).toEqual(listeners[0]?.heard);
  }
  expect(counted).toBe(listeners[0]?.heard.length);
  expect(speaker.speakers.size).toBe(3);
  for (const { socket } of clients) socket.disconnect();
  await example.stop();
});
