// Runs `handover hammer` as a process against servers of this one, and reads what it says.
import { once } from 'node:events';
import { createServer } from 'node:http';
import net from 'node:net';
import { onTestFinished } from 'vitest';
import type { HammerResult } from '../../lib/hammer/result.js';
import type { Programs } from '../helpers/programs.js';

export interface Ran {
  readonly code: number | null;
  readonly result: HammerResult;
  /** The line before the last. */
  readonly details: Readonly<Record<string, unknown>>;
  readonly lines: readonly Readonly<Record<string, unknown>>[];
}

export const COMMAND: URL = new URL('../../dist/cli/main.js', import.meta.url);

/** Runs it with `--json` to its end. */
export async function runHammer(programs: Programs, ...args: readonly string[]): Promise<Ran> {
  const program = programs.start(COMMAND, { args: ['hammer', ...args, '--json'] });
  const { code } = await program.exit(30_000);
  await program.closed;
  const lines = program.stdout.trim().split('\n').flatMap(parse);
  const [details, result] = lines.slice(-2);
  if (details === undefined || result === undefined) throw new Error(`no result, but: ${program.stderr}`);
  return { code, result: result as unknown as HammerResult, details, lines };
}

/** Runs it for people: text and errors. */
export async function runForPeople(
  programs: Programs,
  ...args: readonly string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const program = programs.start(COMMAND, { args: ['hammer', ...args] });
  const { code } = await program.exit(30_000);
  await program.closed;
  return { code, stdout: program.stdout, stderr: program.stderr };
}

function parse(line: string): Record<string, unknown>[] {
  return line === '' ? [] : [JSON.parse(line) as Record<string, unknown>];
}

/** The losses that are not 0. */
export function losses({ lostBy }: HammerResult): Record<string, number> {
  return Object.fromEntries(Object.entries(lostBy).filter(([, count]) => count > 0));
}

/** A server that is closed, with its connections, when the test has ended. Returns its port. */
export async function listen(server: net.Server): Promise<number> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as net.AddressInfo).port;
}

/** A request as it came: its path, and the value of its `x-request-number`. */
export interface RawRequest {
  readonly path: string;
  readonly number: string;
  readonly text: string;
}

/** A server that hands each request, as soon as its head is whole, to `answer`. */
export function rawServer(answer: (socket: net.Socket, request: RawRequest) => void): net.Server {
  return net.createServer((socket) => {
    socket.on('error', () => {}); // the client closes what is wrong
    let received = '';
    socket.setEncoding('latin1').on('data', (piece: string) => {
      const texts = (received + piece).split('\r\n\r\n');
      received = texts.pop() ?? '';
      for (const text of texts) {
        const [, path = ''] = text.split(' ');
        const [, number = ''] = /^x-request-number: (\d+)/im.exec(text) ?? [];
        answer(socket, { path, number, text });
      }
    });
  });
}

/** A server without a fault. */
export async function helloServer(): Promise<string> {
  return `http://127.0.0.1:${await listen(createServer((_, response) => response.end('hello\n')))}/`;
}

export const BODY = 'a right answer\n';

export function head(fields = ''): string {
  return `HTTP/1.1 200 OK\r\nx-pid: ${process.pid}\r\nContent-Length: ${BODY.length}\r\n${fields}\r\n`;
}

export const WHOLE: string = head() + BODY;
