// How many requests a second a server answers on keep-alive connections: asked by wrk where it is installed, else by a
// client of this bench.
import { hasWrk, wrk } from '../lib/wrk.js';
import type { Clients } from './chain.js';

const CONNECTIONS = 32;

export function requestsPerSecond(port: number, ms: number, client: Clients): Promise<number> {
  return hasWrk() ? wrk({ port, connections: CONNECTIONS, ms }) : client.load(port, CONNECTIONS, ms);
}
