// The `handover` command as an operator runs it: a process of its own, its output and how it ended.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dial } from '../../lib/fd/dial.js';
import { FdSocket } from '../../lib/fd/index.js';
import { type Params, Rpc } from '../../lib/protocol/rpc.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The user it runs as. */
  readonly uid?: number;
}

/** Runs it to its end. None of the variables that say where a socket is are inherited. */
export async function handover(args: readonly string[], { env = {}, uid }: CommandOptions = {}): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, HANDOVER_CONTROL: undefined, XDG_RUNTIME_DIR: undefined, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 30_000,
    ...(uid !== undefined && { uid, gid: uid, cwd: '/' }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** The lines of JSON it wrote. */
export function jsonOf({ stdout }: Ended): Record<string, unknown>[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** What the process at a control socket answers to one call of this process. */
export async function ask(control: string, method: string, params: Params = {}): Promise<Params> {
  const rpc = new Rpc(new FdSocket(dial(control)), { calls: {} });
  try {
    return (await rpc.call(method, params)).params;
  } finally {
    rpc.close();
    await rpc.closed;
  }
}

/** As `until`, for what has to be asked for: resolves with the first answer that is neither undefined nor false. */
export async function eventually<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() >= deadline) throw new Error(`waited 10 s for ${what}`);
    await pause(10);
  }
}
