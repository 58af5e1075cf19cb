// What a run does, as plain data: it is made from the command line and sent to the threads.

import type { IdentifyBy } from './identify.js';
import type { Expectation } from './outcome.js';

/** Kinds of clients; `--mix` names them. */
export const CLIENT_KINDS = ['keep-alive', 'new', 'idle', 'pipelined', 'half-sent', 'websocket'] as const;

export type ClientKind = (typeof CLIENT_KINDS)[number];

export type Mix = Readonly<Record<ClientKind, number>>;

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

export interface Target {
  readonly isTls: boolean;
  /** What is connected to; for a Unix socket the path alone counts. */
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
  /** The server puts before each echo which one of its connection it is, from 1 on; an echo too many is a loss. */
  readonly countsEchoes?: boolean;
  /** Value of the Host field. */
  readonly authority: string;
  /** `name: value` each. */
  readonly headers: readonly string[];
  readonly body?: string;
  /** The header that carries the number of the request, in ledger mode. */
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
  /** Ends the run when so many requests were made, however long it takes. */
  readonly requests?: number;
  /** Arrivals a second of an open loop; absent: a closed loop. */
  readonly rate?: number;
  /** Between two requests of a client in a closed loop. */
  readonly think: number;
  /** How long an idle client sleeps between two requests. */
  readonly idle: number;
  /** Between the two halves of a half-sent request. */
  readonly halfPause: number;
  /** Requests in one write of a pipelined client. */
  readonly depth: number;
  readonly answerTimeout: number;
  readonly connectTimeout: number;
}
