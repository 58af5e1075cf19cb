// Benchmarks one after the other, each in a process of its own: none finds the heap of the one before, and one that fails or
// hangs takes no other with it. What it leaves behind, processes and files, is removed before the next begins.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from '../lib/bench.js';
import { marked, signal } from '../lib/process-id.mjs';

/** What a benchmark says by IPC: how far it is, and in the end what it found. */
export interface Message {
  readonly progress?: string;
  readonly found?: Found;
  /** Why it found nothing. */
  readonly failure?: string;
}

export interface Found extends Report {
  readonly rounds: number;
}

/** How one benchmark ended. */
export interface Ended {
  readonly name: string;
  readonly elapsedMs: number;
  readonly found?: Found;
  /** Why there is nothing found. */
  readonly failure?: string;
  /** What of it could not be removed: processes, files. */
  readonly left?: string;
}

export interface SuiteOptions {
  readonly names: readonly string[];
  /** The arguments of Node for a benchmark. */
  readonly command: (name: string) => readonly string[];
  /** Milliseconds for one of them. */
  readonly limit: (name: string) => number;
  readonly progress: (text: string) => void;
  readonly ended: (one: Ended) => void;
  /** Ends the one that runs, and begins no other. */
  readonly signal: AbortSignal;
}

const MARK = 'HANDOVER_BENCH_RUN';
/** Of what a failed one wrote to stderr. */
const LAST_LINES = 20;
/** Milliseconds. */
const LAST_DEEDS = 10_000;
const LAST_WORDS = 2_000;
const LAST_KILLS = 5_000;
const KILL_PAUSE = 20;
/** What a timer of Node can wait. */
const LONGEST = 2 ** 31 - 1;

/** Never rejects because of a benchmark: how each ended is in the result. */
export async function runSuite(options: SuiteOptions): Promise<Ended[]> {
  const all: Ended[] = [];
  for (const [index, name] of options.names.entries()) {
    if (options.signal.aborted) break;
    const prefix = `[${index + 1}/${options.names.length}]`;
    options.progress(`${prefix} ${name}`);
    const one = await runOne(name, options, (text) => options.progress(`${prefix} ${text}`));
    all.push(one);
    options.ended(one);
  }
  return all;
}

async function runOne(name: string, options: SuiteOptions, progress: (text: string) => void): Promise<Ended> {
  const { command, signal } = options;
  const limit = options.limit(name);
  const started = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'handover-bench-'));
  const mark = randomUUID();
  const child = spawn(process.execPath, [...command(name)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, TMPDIR: folder, [MARK]: mark },
  });
  const expired = AbortSignal.timeout(Math.min(limit, LONGEST));
  const stop = (): void => {
    // Time to end what it has started in its own way: a daemon, a service.
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), LAST_DEEDS).unref();
  };
  const ending = AbortSignal.any([signal, expired]);
  ending.addEventListener('abort', stop);
  if (ending.aborted) stop();
  const { found, failure, left } = await watch(child, mark, progress);
  ending.removeEventListener('abort', stop);
  const remaining = [left, removed(folder)].filter((text) => text !== undefined).join('; ');
  const about = {
    name,
    elapsedMs: Math.round(performance.now() - started),
    ...(remaining !== '' && { left: remaining }),
  };
  if (signal.aborted) return { ...about, failure: 'interrupted' };
  if (expired.aborted) return { ...about, failure: `not done after ${limit / 1_000} s` };
  return failure === undefined && found ? { ...about, found } : { ...about, failure: failure ?? '' };
}

/** Why it could not be. */
function removed(folder: string): string | undefined {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What it says until it has ended, and how it ended when that was badly. */
async function watch(
  child: ChildProcess,
  mark: string,
  progress: (text: string) => void,
): Promise<Pick<Ended, 'found' | 'failure' | 'left'>> {
  let found: Found | undefined;
  let failure: string | undefined;
  let stderr = '';
  child.on('message', (message: Message) => {
    if (message.progress) progress(message.progress);
    if (message.found) found = message.found;
    if (message.failure) failure = message.failure;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).split('\n').slice(-LAST_LINES).join('\n');
  });
  const closed = once(child, 'close');
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  const [code, signalName] = await exited.catch((error: Error) => [null, error.message] as const);
  // What it left behind may hold its stderr, which is read to its end.
  const alive = await killMarked(mark);
  const left = alive.length > 0 ? { left: `processes ${alive.join(', ')}` } : {};
  await Promise.race([closed, sleep(LAST_WORDS, undefined, { ref: false })]);
  if (code === 0 && found) return { found, ...left };
  const how = signalName === null ? `exit code ${code}` : `signal ${signalName}`;
  const reason = failure ?? (code === 0 ? 'it found nothing' : how);
  return { failure: [reason, stderr.trim()].filter((text) => text !== '').join('\n'), ...left };
}

/**
 * Its servers and their successors carry the mark of their environment. Again and again: one may just be starting another.
 * Only where there is a /proc. Resolves with those that are still there in the end.
 */
async function killMarked(mark: string): Promise<number[]> {
  const deadline = performance.now() + LAST_KILLS;
  // Twice nobody: one look can miss a process whose starter has ended during it.
  for (let nobody = 0; ; ) {
    const alive = marked(`${MARK}=${mark}`).flat();
    nobody = alive.length === 0 ? nobody + 1 : 0;
    if (nobody === 2 || performance.now() > deadline) return alive.map(({ pid }) => pid);
    for (const id of alive) signal(id, 'SIGKILL');
    await sleep(KILL_PAUSE);
  }
}
