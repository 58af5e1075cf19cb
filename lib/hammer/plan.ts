// The plan of a run as plain data, made from the command line and sent to the threads.

import type { IdentifyBy } from './identify.js';
import type { Expectation } from './outcome.js';

/** Kinds of clients; `--mix` names them. */
export const CLIENT_KINDS = ['keep-alive', 'new', 'idle', 'pipelined', 'half-sent', 'websocket'] as const;

export type ClientKind = (typeof CLIENT_KINDS)[number];

export type Mix = Readonly<Record<ClientKind, number>>;

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

export interface Target {
  readonly isTls: boolean;
  /** Host of the server; for a Unix socket only the path counts. */
  readonly host: string;
  readonly port: number;
  readonly unixPath?: string;
  /** For SNI; absent where the host is an address. */
  readonly serverName?: string;
  readonly tlsVersion?: TlsVersion;
  readonly resumes: boolean;
}

export interface RequestShape {
  readonly method: string;
  readonly path: string;
  readonly webSocketPath: string;
  /** The server numbers the echoes of a connection from 1 on; a surplus echo is a loss. */
  readonly countsEchoes?: boolean;
  /** Value of the Host field. */
  readonly authority: string;
  /** Each is `name: value`. */
  readonly headers: readonly string[];
  readonly body?: string;
  /** Name of the header for the request's number, in ledger mode. */
  readonly numberHeader?: string;
}

/** Times are milliseconds. */
export interface Plan {
  readonly target: Target;
  readonly request: RequestShape;
  readonly expectation: Expectation;
  readonly identify?: IdentifyBy;
  readonly mix: Mix;
  readonly threads: number;
  readonly duration: number;
  /** Number of requests after which the run ends, however long it takes. */
  readonly requests?: number;
  /** Arrivals per second of an open loop; absent: a closed loop. */
  readonly rate?: number;
  /** Pause between two requests of a client in a closed loop. */
  readonly think: number;
  /** Longest pause of an idle client between two requests. */
  readonly idle: number;
  /** Pause between the two halves of a half-sent request. */
  readonly halfPause: number;
  /** Requests in one write of a pipelined client. */
  readonly depth: number;
  readonly answerTimeout: number;
  readonly connectTimeout: number;
}
