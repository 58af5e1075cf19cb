// What a process or a supervisor says of itself to an operator: plain values, as they travel over the control socket.

import { acceptQueue } from '../fd/accept-queue.js';
import { describeFd } from '../fd/index.js';
import type { ChargeStatus } from '../handover/arbiter.js';
import type { Json } from '../protocol/rpc.js';
import type { Entry } from '../resources/ledger.js';

export type ListenerStatus = {
  readonly name: string;
  /** As asked for, for example `tcp://*:8080`. */
  readonly address: string;
  /** What the kernel bound, where that is another: `127.0.0.1:34567` for port 0. */
  readonly bound?: string | undefined;
  readonly backlogAsked?: number | undefined;
  /** After net.core.somaxconn; undefined where the kernel does not tell, as of Unix listeners. */
  readonly backlogEffective?: number | undefined;
  /** Connections that wait to be accepted. */
  readonly queueDepth?: number | undefined;
  readonly reusePort: boolean;
  /** By which every process that holds it is found. */
  readonly inode: string;
  /** Filled in by whoever asks: looking for them takes too long for a process that serves. */
  readonly pids?: readonly number[] | undefined;
};

export type GenerationStatus = { readonly generation: number; readonly pid: number; readonly connections: number };
export type DrainingStatus = GenerationStatus & { readonly ageMs: number };

/** What a supervisor says of each worker. */
export type WorkerStatus = GenerationStatus & {
  readonly ageMs: number;
  readonly phase: string;
  readonly restarts?: number | undefined;
};

export type Status = {
  readonly kind: 'process' | 'supervisor';
  readonly version: string;
  readonly generation: number;
  readonly pid: number;
  readonly ageMs: number;
  /** `loading`, `ready`, `serving`, `draining`, `closing`, or the phase of the handover that is under way. */
  readonly phase: string;
  readonly isInCharge: boolean;
  readonly listeners: readonly ListenerStatus[];
  /** Open connections, the newest generation first. */
  readonly connections: readonly GenerationStatus[];
  readonly draining: readonly DrainingStatus[];
  /** One, or one for each slot; none where the platform or a predecessor has none. */
  readonly charges?: readonly ChargeStatus[] | undefined;
  readonly control?: string | undefined;
  readonly takeover?: string | undefined;
  readonly healthEndpoint?: string | undefined;
  readonly workers?: readonly WorkerStatus[] | undefined;
  /** A roll under way or paused, in the supervisor's own words. */
  readonly roll?: Readonly<Record<string, Json | undefined>> | undefined;
};

/** What was asked for when a listener was opened. */
export interface Asked {
  readonly backlog: number | undefined;
  readonly reusePort: boolean;
}

/** The descriptor is borrowed. */
export function listenerStatus({ name, address, fd }: Entry, asked: Asked | undefined): ListenerStatus {
  const { inode, socket } = describeFd(fd);
  const queue = acceptQueue(fd);
  const local = socket?.local;
  const bound = local && 'address' in local ? authority(local.address, local.port) : undefined;
  return {
    name,
    address,
    bound,
    backlogAsked: asked?.backlog,
    backlogEffective: queue?.limit,
    queueDepth: queue?.depth,
    reusePort: asked?.reusePort ?? false,
    inode: String(inode),
  };
}

export function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
