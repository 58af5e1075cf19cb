// G2, G3: the chat hands over while everybody talks: no socket is closed, and no message is lost, doubled or out of order.
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { Example } from './example.js';

expectNoLeaks();
const programs = usePrograms();

/** Says one number after another, without waiting for what it hears. */
class Member {
  readonly name: string;
  readonly socket: WebSocket;
  readonly heard: string[] = [];
  readonly ends: string[] = [];
  said = 0;
  #talking: Promise<void> | undefined;
  #isTalking = true;

  constructor(port: number, name: string) {
    this.name = name;
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/?name=${name}`);
    this.socket.on('message', (message) => this.heard.push(String(message)));
    this.socket.on('close', (code) => this.ends.push(`closed with ${code}`));
    this.socket.on('error', ({ message }) => this.ends.push(message));
  }

  talk(): void {
    this.#talking = (async () => {
      for (; this.#isTalking; await pause(5)) this.say();
    })();
  }

  async hush(): Promise<void> {
    this.#isTalking = false;
    await this.#talking;
  }

  /** Its count is the server's, and moves with the connection. */
  say(): string {
    const text = String(++this.said);
    this.socket.send(text);
    return `${this.name} (${text}): ${text}`;
  }

  /** What it heard of its own words: while they move, those of others may be in the other process. */
  get own(): string[] {
    return this.heard.filter((text) => text.startsWith(`${this.name} (`));
  }
}

it('G2, G3: two handovers under messages: none lost, no socket closed, one welcome for each', async () => {
  const example = await Example.start(programs, 'websocket-chat.mjs', { log: true });
  const pids = (): number[] =>
    [...example.program.stderr.matchAll(/^handover\[(\d+)\]/gm)].map(([, pid]) => Number(pid));
  const members = ['ada', 'grace', 'hedy', 'joan'].map((name) => new Member(example.port, name));
  onTestFinished(() => members.forEach(({ socket }) => void socket.terminate()));
  await until(() => members.every(({ heard }) => heard.length > 0), { what: 'everybody to be welcome', interval: 10 });

  for (const member of members) member.talk();
  for (let handover = 0; handover < 2; handover++) {
    await example.handOver(() => [example.program.pid, ...pids()]);
    const so = members.map(({ said }) => said);
    await until(() => members.every(({ own, ends }, i) => own.length > (so[i] ?? 0) || ends.length > 0), {
      what: 'answers of the successor',
    });
  }
  await Promise.all(members.map((member) => member.hush()));
  await until(() => members.every(({ own, said, ends }) => own.length === said || ends.length > 0), {
    what: 'the last answers',
  });
  for (const { name, heard, own, said, ends } of members) {
    expect(ends).toEqual([]);
    expect(own).toEqual(Array.from({ length: said }, (_, i) => `${name} (${i + 1}): ${i + 1}`));
    expect(heard.filter((text) => text.startsWith('welcome'))).toEqual([`welcome, ${name}`]);
    expect(said).toBeGreaterThan(50);
  }
  // All are in one process again.
  const last = members.map((member) => member.say());
  await until(() => members.every(({ heard }) => last.every((text) => heard.includes(text))), {
    what: `everybody to hear everybody: ${JSON.stringify(members.map(({ ends }) => ends))}`,
  });
  expect(new Set([example.program.pid, ...pids()]).size).toBe(3);
  for (const { socket } of members) {
    socket.close();
    await once(socket, 'close');
  }
  await example.stop();
});
