// The types of `handover/websocket`, to the letter, with and without those of `ws`. Never run: `npm run typecheck` reads it.
import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Handover } from '../../lib/index.js';
import {
  isMigrated,
  type MigrateUpgradesOptions,
  migrateUpgrades,
  migrateWebSockets,
  type Restored,
  type WebSocketLike,
  type WebSocketServerLike,
} from '../../lib/websocket.js';
import { type Equal, same } from './same.js';

declare const handover: Handover;
declare const request: IncomingMessage;
const server = createServer();
const wss = new WebSocketServer({ server });

same<Equal<ReturnType<typeof isMigrated>, boolean>>();
isMigrated(request);

// The class of `ws`, and what was saved, are known to `restore`.
migrateWebSockets(handover, wss, {
  save: (ws) => {
    same<Equal<typeof ws, WebSocket>>();
    void ws;
    return { name: 'ada', room: 7 };
  },
  restore: (ws, state, request) => {
    same<Equal<typeof ws, WebSocket>>();
    same<Equal<typeof state, { name: string; room: number }>>();
    same<Equal<typeof request, IncomingMessage>>();
    return [ws, state, request];
  },
});

// Promised, or undefined.
migrateWebSockets(handover, wss, {
  server,
  save: async (ws) => (ws.readyState === 1 ? { name: 'ada' } : undefined),
  restore: async (_, state) => {
    same<Equal<typeof state, { name: string }>>();
    return state;
  },
});

// Bytes come as a Buffer.
migrateWebSockets(handover, wss, {
  save: () => new Uint8Array(3),
  restore: (_, state) => {
    same<Equal<typeof state, Buffer>>();
    return state;
  },
});
same<Equal<Restored<Buffer>, Buffer>>();

// @ts-expect-error both are needed
migrateWebSockets(handover, wss, { save: () => 1 });
// @ts-expect-error unknown options are errors
migrateWebSockets(handover, wss, { save: () => 1, restore: () => {}, path: '/chat' });
// @ts-expect-error no WebSocketServer
migrateWebSockets(handover, server, { save: () => 1, restore: () => {} });

migrateUpgrades(handover, server, {
  save: (socket) => {
    same<Equal<typeof socket, Socket>>();
    void socket;
    return [1, 2];
  },
  restore: (socket, state) => {
    same<Equal<typeof socket, Socket>>();
    same<Equal<typeof state, number[]>>();
    return [socket, state];
  },
});
same<Equal<Parameters<MigrateUpgradesOptions<Socket, string>['restore']>[1], string>>();

// A class with no types of `ws` about.
declare const mine: WebSocketServerLike<WebSocketLike & { readonly id: number }>;
migrateWebSockets(handover, mine, { server, save: ({ id }) => id, restore: (ws, id) => void (ws.id === id) });
