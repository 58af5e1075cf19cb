// How many requests a second a server answers: asked by wrk where it is installed, else by a client of this bench.
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { Clients } from './chain.js';

const CONNECTIONS = 32;
let isThere: boolean | undefined;

export function hasWrk(): boolean {
  // `wrk -v` prints its version and ends with 1.
  isThere ??= spawnSync('wrk', ['-v']).error === undefined;
  return isThere;
}

/** On keep-alive connections. wrk measures whole seconds. */
export async function requestsPerSecond(port: number, ms: number, client: Clients): Promise<number> {
  if (!hasWrk()) return client.load(port, CONNECTIONS, ms);
  const seconds = Math.ceil(ms / 1_000);
  const args = ['-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`, `http://127.0.0.1:${port}/`];
  const { stdout } = await promisify(execFile)('wrk', args);
  const perSecond = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  if (perSecond === undefined || /Socket errors|Non-2xx/.test(stdout)) throw new Error(`wrk said:\n${stdout}`);
  return Number(perSecond);
}
