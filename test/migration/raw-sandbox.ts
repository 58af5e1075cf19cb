// Both sides of a move of raw connections in one process: line servers that count, whose apps say all they hear.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import net, { type NetConnectOpts, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { BindListenerOptions } from '../../lib/fd/index.js';
import { bindListener, describeFd, dupFd } from '../../lib/fd/index.js';
import type { Migration } from '../../lib/index.js';
import { ManagedServer } from '../../lib/protocols/managed-server.js';
import { own } from '../fd/sandbox.js';
import { until } from '../helpers/until.js';
import { LineClient } from './lines.js';
import { counted, Transfer } from './sandbox.js';

/** What the line protocol knows of a connection. */
export interface Talk {
  count: number;
  /** A line that is not whole. */
  rest: string;
}

export interface RawSite {
  readonly id: number;
  readonly server: net.Server;
  readonly managed: ManagedServer;
  readonly target: NetConnectOpts;
  readonly talks: Map<Socket, Talk>;
  /** The events its app heard: `close`, `end`, `error`, `timeout`, `saved`, `restored`, `connection`. */
  readonly heard: string[];
  /** As the app answers lines on a socket. */
  talk(socket: Socket, talk: Talk): void;
  /** The only one. */
  socket(): Socket;
}

export interface RawOptions {
  readonly migrate?: Partial<Migration<never>>;
  readonly server?: net.ServerOpts;
  readonly bind?: BindListenerOptions;
  /** In place of the line protocol. */
  readonly accept?: (socket: Socket) => void;
}

export const LOCAL: BindListenerOptions = { port: 0, host: '127.0.0.1' };

/** A server whose answers are `<id> <count> <line>`. */
export async function rawSite(id: number, options: RawOptions = {}): Promise<RawSite> {
  const talks = new Map<Socket, Talk>();
  const heard: string[] = [];
  const hear = (socket: Socket): void => {
    for (const name of ['close', 'end', 'error', 'timeout']) socket.on(name, () => heard.push(name));
  };
  const talk = (socket: Socket, state: Talk): void => {
    talks.set(socket, state);
    hear(socket);
    socket.on('close', () => talks.delete(socket));
    socket.on('data', (bytes: Buffer) => {
      const lines = (state.rest + bytes.toString('latin1')).split('\n');
      state.rest = lines.pop() ?? '';
      for (const line of lines) socket.write(`${id} ${++state.count} ${line}\n`, 'latin1');
    });
  };
  const server = net.createServer(options.server ?? {}, (socket) => {
    heard.push('connection');
    if (!options.accept) return talk(socket, { count: 0, rest: '' });
    hear(socket);
    options.accept(socket);
  });
  const migrate = {
    save: (socket: Socket) => {
      heard.push('saved');
      return talks.get(socket);
    },
    restore: (socket: Socket, state: Talk) => {
      heard.push('restored');
      talk(socket, state);
    },
    ...options.migrate,
  } as Migration;
  const fd = own(bindListener(options.bind ?? LOCAL));
  const managed = new ManagedServer(server, 'web', 511, () => {}, migrate);
  onTestFinished(async () => {
    managed.cut();
    managed.finish();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  await managed.accept({ fd: dupFd(fd) });
  const local = describeFd(fd).socket?.local;
  if (!local) throw new Error('no address');
  const path = 'path' in local ? local.path : 'abstract' in local ? `\0${local.abstract}` : undefined;
  const target = path === undefined ? { port: (local as net.AddressInfo).port, host: '127.0.0.1' } : { path };
  const socket = (): Socket => [...talks.keys()][0] as Socket;
  return { id, server, managed, target, talks, heard, talk, socket };
}

/** Clients whose connections the server has accepted. */
export async function clients(site: RawSite, count: number): Promise<LineClient[]> {
  const made = Array.from({ length: count }, () => new LineClient(site.target));
  await counted(site, count);
  return made;
}

export interface Move {
  readonly transfer: Transfer;
  /** Ends the asking for those that can move. */
  stop(): void;
}

/** The move begins: what the predecessor's apps save is offered, and nothing is answered yet. */
export function begin(from: RawSite, to: RawSite): Move {
  const transfer = Transfer.between(from, to);
  const stop = from.managed.whenMovable(() => transfer.offering.sweepSoon());
  onTestFinished(stop);
  return { transfer, stop };
}

/** All of it, until so many have been adopted. */
export async function move(from: RawSite, to: RawSite, count = 1): Promise<Transfer> {
  const { transfer, stop } = begin(from, to);
  transfer.run();
  await until(() => transfer.offering.moved === count && transfer.holding.adopted === count, { what: 'the move' });
  stop();
  return transfer;
}

/** What is published of hooks that failed, `name: message`. */
export function failures(): string[] {
  const failed: string[] = [];
  const hear = (message: unknown): void => {
    const { name, error } = message as { name: string; error: Error };
    failed.push(`${name}: ${error.message}`);
  };
  subscribe('handover:hook-failed', hear);
  onTestFinished(() => {
    unsubscribe('handover:hook-failed', hear);
  });
  return failed;
}
