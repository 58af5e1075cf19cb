// `handover hammer` as the client of a benchmark: started, stopped, and what it counted.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Its last line and the one before, as docs/hammer.md describes them: what the benchmarks read of it. */
export interface Hammered {
  readonly requests: { readonly ok: number; readonly lost: number };
  readonly lostBy: Readonly<Record<string, number>>;
  readonly connections: { readonly closedByServer: number };
  readonly latencyMs: Readonly<Record<'mean' | 'p50' | 'p90' | 'p99' | 'p99.9' | 'max', number>>;
  readonly longestGapMs: number;
  readonly requestsPerSecond: number;
}

export interface Hammering extends AsyncDisposable {
  /** Resolves when it has counted for the first time, a quarter of a second after its start. */
  readonly underWay: Promise<void>;
  /** Ends the load before its time. */
  enough(): void;
  /** Resolves when it has ended. Lost requests are counted, and no failure. */
  readonly result: Promise<Hammered>;
}

/** Begins at once. Disposing it ends it, whatever it has found. */
export function startHammer(url: string, args: readonly string[]): Hammering {
  const command = [COMMAND, 'hammer', url, ...args, '--allow-lost', '--json'];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const lines = createInterface({ input: child.stdout });
  const underWay = once(lines, 'line').then(() => {});
  const read = async (): Promise<Hammered> => {
    const last: string[] = [];
    for await (const line of lines) {
      last.push(line);
      if (last.length > 2) last.shift();
    }
    await closed;
    const [details, result] = last.map((line) => JSON.parse(line) as Partial<Hammered>);
    if (child.exitCode !== 0 || result?.requests === undefined) {
      throw new Error(`handover hammer ended early: exit code ${child.exitCode}, signal ${child.signalCode}`);
    }
    const latencyMs = { ...details?.latencyMs, ...result.latencyMs };
    return { ...details, ...result, latencyMs } as Hammered;
  };
  const result = read();
  result.catch(() => {}); // whoever waits for it learns it
  return {
    underWay: Promise.race([underWay, result.then(() => {})]),
    enough: () => void child.kill('SIGINT'),
    result,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await result.catch(() => {});
    },
  };
}

/** From its start to its end. */
export async function hammer(url: string, args: readonly string[]): Promise<Hammered> {
  await using hammering = startHammer(url, args);
  return await hammering.result;
}
