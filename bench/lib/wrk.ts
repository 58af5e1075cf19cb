// wrk(1), where it is installed.
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

let isThere: boolean | undefined;

export function hasWrk(): boolean {
  // `wrk -v` prints its version and ends with 1.
  isThere ??= spawnSync('wrk', ['-v']).error === undefined;
  return isThere;
}

export interface WrkOptions {
  readonly port: number;
  readonly connections: number;
  /** Rounded up: wrk measures whole seconds. */
  readonly ms: number;
  /** A new connection for each request, which the server closes. */
  readonly isOneShot?: boolean;
}

/** Requests a second. @throws Error an answer was missing or wrong */
export async function wrk({ port, connections, ms, isOneShot = false }: WrkOptions): Promise<number> {
  const load = ['-t', '1', '-c', String(connections), '-d', `${Math.ceil(ms / 1_000)}s`];
  const headers = isOneShot ? ['-H', 'Connection: close'] : [];
  const { stdout } = await promisify(execFile)('wrk', [...load, ...headers, `http://127.0.0.1:${port}/`]);
  const perSecond = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  if (perSecond === undefined || /Socket errors|Non-2xx/.test(stdout)) throw new Error(`wrk said:\n${stdout}`);
  return Number(perSecond);
}
