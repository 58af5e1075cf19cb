// Appends one line of JSON to a file for each finished handover.
import { closeSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { HandoverEvents } from '../events.js';
import { expectSafe, openToAppend } from '../fd/safe-files.js';
import { Observer } from './observer.js';

/** Keeps the record of deployments from other users, unless the file exists with another mode. */
const MODE = 0o600;

/**
 * Writes each line with one write(2) to a descriptor opened with O_APPEND, so that lines of several processes never mix, and
 * opens the file anew each time, so that it can be rotated, until the returned function is called. Publishes `hook-failed` at
 * once, before there is a line to write, for a file that cannot be opened, is a link or a FIFO, or lies where other users can
 * write; the server goes on.
 */
export function keepAudit(path: string): () => void {
  const observer = new Observer('audit');
  observer.on('outcome', (outcome) => {
    // The predecessor writes the line; if it has died, the successor.
    if (outcome.isFirstHand) append(path, `${JSON.stringify(lineOf(outcome))}\n`);
  });
  observer.guard(() => append(path, ''));
  return observer.end;
}

/** Names and numbers only: messages and the environment may hold secrets. */
function lineOf({
  handoverId,
  generation,
  result,
  code,
  phase,
  lost,
  requester,
  from,
  to,
  successorPid,
  ...sums
}: HandoverEvents['outcome']): object {
  const { durationMs, moved, ended, cut } = sums;
  return {
    time: new Date().toISOString(),
    handoverId,
    generation,
    pid: process.pid,
    successorPid: successorPid ?? null,
    requester: requester ?? null,
    from: from ?? null,
    to: to ?? null,
    outcome: result,
    code: code ?? null,
    phase: phase ?? null,
    durationMs: Math.round(durationMs),
    connections: { moved, ended, cut, ...(lost !== undefined && { lost }) },
  };
}

function append(path: string, line: string): void {
  expectSafe(dirname(path));
  const fd = openToAppend(path, MODE);
  try {
    if (line !== '') writeSync(fd, line);
  } finally {
    closeSync(fd);
  }
}
