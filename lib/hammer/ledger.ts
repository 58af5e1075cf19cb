// Compares the numbers of the client's requests with those that the server has logged as begun and ended.
import { constants, createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { CommandError, EXIT } from '../terminal/exit-codes.js';

const LINE = /^\s*(begin|end)\s+(\d+)\b/;
/** The log counts as complete when it has not grown for this long; the wait ends after {@link PATIENCE}. */
const QUIET_TIME = 250;
const PATIENCE = 5_000;

export interface LedgerResult {
  /** Requests that the server began more than once. */
  readonly executedTwice: number;
  /** Requests that the server ended, and to which the client got no expected answer. */
  readonly executedUnanswered: number;
  /** Requests that the client sent and the server never began. */
  readonly gaps: number;
  /** Requests that the server began and never ended. */
  readonly begunNotEnded: number;
}

export interface Issued {
  /** How many numbers each thread used: thread t of T uses t + 1, t + 1 + T, … */
  readonly byThread: readonly number[];
  readonly lost: ReadonlySet<number>;
  /** Numbers of requests that could not be made or sent. */
  readonly unused: ReadonlySet<number>;
}

/**
 * The length of the log before the run: its content then is of another run. A log that the server has yet to make is empty.
 *
 * @throws CommandError the path is no file, or the file cannot be read
 */
export async function openLedger(path: string): Promise<number> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat().finally(() => file.close());
    if (!found.isFile()) throw new Error('it is no file');
    return found.size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw new CommandError(EXIT.usage, `--ledger ${path} cannot be read: ${(error as Error).message}`);
  }
}

async function ledgerLength(path: string): Promise<number> {
  return (await stat(path).catch(() => ({ size: 0 }))).size;
}

/** Waits until the log is quiet, and compares. */
export async function readLedger(path: string, start: number, issued: Issued): Promise<LedgerResult> {
  await untilQuiet(path);
  const begun = new Map<number, number>();
  const ended = new Set<number>();
  if ((await ledgerLength(path)) > start) {
    for await (const line of createInterface({ input: createReadStream(path, { start }) })) {
      const [, what, digits] = LINE.exec(line) ?? [];
      const number = Number(digits);
      if (what === 'begin') begun.set(number, (begun.get(number) ?? 0) + 1);
      else if (what === 'end') ended.add(number);
    }
  }
  return compare(begun, ended, issued);
}

function compare(begun: ReadonlyMap<number, number>, ended: ReadonlySet<number>, issued: Issued): LedgerResult {
  let [executedTwice, executedUnanswered, gaps, begunNotEnded] = [0, 0, 0, 0];
  const threads = issued.byThread.length;
  for (const [thread, count] of issued.byThread.entries()) {
    for (let i = 0; i < count; i++) {
      const number = thread + 1 + i * threads;
      const times = begun.get(number) ?? 0;
      if (times > 1) executedTwice++;
      if (times === 0 && !issued.unused.has(number)) gaps++;
      if (times > 0 && !ended.has(number)) begunNotEnded++;
      if (ended.has(number) && issued.lost.has(number)) executedUnanswered++;
    }
  }
  return { executedTwice, executedUnanswered, gaps, begunNotEnded };
}

async function untilQuiet(path: string): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  for (let before = -1, now = await ledgerLength(path); before !== now && performance.now() < deadline; ) {
    before = now;
    await pause(QUIET_TIME);
    now = await ledgerLength(path);
  }
}
