// WebSockets of which every byte counts, and servers of `ws` whose answers say who gave them and how many came before.
import type { IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import type { Handover } from '../../lib/index.js';
import { isMigrated, type MigrateWebSocketsOptions, migrateWebSockets } from '../../lib/websocket.js';
import { type Site, site } from './sandbox.js';
import { Wire } from './wire.js';

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
type Opcode = keyof typeof OPCODE;

export interface Received {
  readonly opcode: Opcode;
  readonly fin: boolean;
  readonly payload: Buffer;
}

/** A frame of a client. */
export function frame(opcode: Opcode, payload: string | Uint8Array = '', { fin = true } = {}): Buffer {
  const body = Buffer.from(payload);
  const size =
    body.length < 126
      ? Buffer.of(0x80 | body.length)
      : body.length < 65_536
        ? Buffer.of(0x80 | 126, body.length >> 8, body.length & 255)
        : Buffer.concat([Buffer.of(0x80 | 127, 0, 0, 0, 0), Buffer.from(Uint32Array.of(body.length).buffer).swap32()]);
  const mask = Buffer.of(1, 2, 3, 4);
  const masked = body.map((byte, i) => byte ^ (mask[i % 4] ?? 0));
  return Buffer.concat([Buffer.of((fin ? 0x80 : 0) | OPCODE[opcode]), size, mask, masked]);
}

/** A client that sees every frame. */
export class SocketWire extends Wire {
  async open(headers = '', path = '/chat'): Promise<this> {
    await this.connected();
    this.get(
      path,
      `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}`,
    );
    const head = await this.head();
    if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`no upgrade: ${head}`);
    return this;
  }

  say(text: string): this {
    return this.send(frame('text', text));
  }

  async frame(): Promise<Received> {
    const [first = 0, second = 0] = Buffer.from(await this.take(2), 'latin1');
    let length = second & 0x7f;
    if (length === 126) length = Buffer.from(await this.take(2), 'latin1').readUInt16BE();
    else if (length === 127) length = Number(Buffer.from(await this.take(8), 'latin1').readBigUInt64BE());
    const payload = Buffer.from(await this.take(length), 'latin1');
    const opcode = Object.keys(OPCODE).find((name) => OPCODE[name as Opcode] === (first & 0x0f)) as Opcode;
    return { opcode, fin: (first & 0x80) !== 0, payload };
  }

  /** The next message, which must be text in one frame. */
  async text(): Promise<string> {
    const { opcode, fin, payload } = await this.frame();
    if (opcode !== 'text' || !fin) throw new Error(`${opcode}, fin ${fin}: ${payload.toString('latin1')}`);
    return payload.toString();
  }

  override async ask(text: string): Promise<never> {
    throw new Error(`ask(${text}): HTTP is over`);
  }

  async asked(text: string): Promise<string> {
    return this.say(text).text();
  }

  /** Sent away: its code; answers it as browsers do, and waits for the end. */
  async sentAway(): Promise<number> {
    const { opcode, payload } = await this.frame();
    if (opcode !== 'close') throw new Error(`${opcode} instead of close: ${payload.toString('latin1')}`);
    this.send(frame('close', payload));
    await this.rest();
    this.close();
    return payload.readUInt16BE();
  }

  /** The end of the connection, whatever comes before it. */
  async rest(): Promise<void> {
    await this.ended();
    await this.take(this.pending);
  }
}

interface Saved {
  readonly count: number;
}

export interface ChatSite extends Site {
  readonly wss: WebSocketServer;
  /** The app's own, newest last. */
  readonly sockets: WebSocket[];
  /** What happened, in words. */
  readonly heard: string[];
  readonly counts: Map<WebSocket, number>;
}

export interface ChatOptions extends Partial<MigrateWebSocketsOptions<WebSocket, Saved | Buffer>> {
  readonly wss?: ServerOptions;
  /** Not opted in. */
  readonly stays?: boolean;
}

export const HANDOVER = { listen: () => {} } as unknown as Handover;

/** A server that answers `<site>:<messages so far>:<message>`; a moved one counts on. */
export async function chat(
  id: number,
  { wss: options = {}, stays = false, ...movers }: ChatOptions = {},
): Promise<ChatSite> {
  const base = await site(id);
  const wss = new WebSocketServer({ server: base.server, ...options } as ServerOptions);
  const chatSite: ChatSite = { ...base, wss, sockets: [], heard: [], counts: new Map() };
  const { heard, counts, sockets } = chatSite;
  wss.on('connection', (ws: WebSocket, request: IncomingMessage) => {
    sockets.push(ws);
    heard.push(isMigrated(request) ? `again ${request.url}` : `new ${request.url}`);
    if (!isMigrated(request)) counts.set(ws, 0);
    ws.on('message', (message: Buffer) => {
      const count = (counts.get(ws) ?? Number.NaN) + 1;
      counts.set(ws, count);
      ws.send(`${id}:${count}:${message.length > 1_000 ? message.length : message}`);
    });
    ws.on('close', (code) => heard.push(`close ${code}`));
    ws.on('error', ({ message }) => heard.push(`error ${message}`));
    request.socket.on('close', () => heard.push('socket close'));
  });
  if (!stays) {
    migrateWebSockets(HANDOVER, wss, {
      save: (ws) => ({ count: counts.get(ws) ?? -1 }),
      restore: (ws, state) => {
        counts.set(ws, (state as Saved).count);
      },
      server: base.server,
      ...movers,
    });
  }
  onTestFinished(() => {
    for (const ws of wss.clients) ws.terminate();
  });
  return chatSite;
}
