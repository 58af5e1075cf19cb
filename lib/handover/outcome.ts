// How a handover ended, for whoever asked for it: what `upgrade()` resolves with, and the error it rejects with.

import { HandoverError, type HandoverErrorCode, toError } from '../errors.js';
import type { Phase } from '../events.js';
import type { Exit } from '../platform/env.js';
import type { Claims } from '../protocol/frames.js';
import type { PhaseRecord } from './phase-log.js';

/** What `upgrade()` resolves with. */
export interface UpgradeOutcome {
  /** The generation in charge now, and its process. */
  readonly generation: number;
  readonly pid: number;
  /** The phases so far; the old process still drains. */
  readonly phases: readonly PhaseRecord[];
  /** Names the successor took over, and those it did not want. */
  readonly claimed: readonly string[];
  readonly unclaimed: readonly string[];
  /** Listeners it has opened itself, where there are any. */
  readonly bound?: Claims['bound'];
}

/** What is known of a successor that failed. */
export interface Remains {
  readonly phase: Phase | undefined;
  readonly exit: Exit | undefined;
  readonly stderr: string;
  /** Connections it owned, as it last said; undefined where it never did. */
  readonly connections: number | undefined;
}

/** A failure that is the successor's own end: its exit says more than any signal of ours. */
export function hasEnded(error: unknown): boolean {
  return error instanceof HandoverError && error.code === 'ERR_HANDOVER_SUCCESSOR_EXITED';
}

/** This process was told to end, or to give the handover up: that says nothing about the successor. */
const NO_JUDGEMENT: readonly HandoverErrorCode[] = ['ERR_HANDOVER_CLOSED', 'ERR_HANDOVER_CANCELLED'];

/** The error with all that is known of the successor: how it ended, what it said, what was lost with it. */
export function explainFailure(error: HandoverError, { phase, exit, stderr, connections }: Remains): HandoverError {
  const how =
    hasEnded(error) && exit ? ` (${exit.signal ? `killed by ${exit.signal}` : `exit code ${exit.code}`})` : '';
  const lost = connections ? `; ${connections} connections it owned were lost` : '';
  const said = stderr ? `\n${stderr.replace(/^/gm, '  | ')}` : '';
  const isJudged = phase === 'PROBATION' && !NO_JUDGEMENT.includes(error.code);
  const prefix =
    isJudged && error.code !== 'ERR_HANDOVER_PROBATION_FAILED' ? 'the successor failed its probation: ' : '';
  return new HandoverError(
    isJudged ? 'ERR_HANDOVER_PROBATION_FAILED' : error.code,
    `${prefix}${error.message}${how}${lost}${said}`,
    {
      phase: phase ?? error.phase,
      stillServing: error.stillServing,
      cause: isJudged ? error : error.cause,
      exitCode: exit?.code,
      exitSignal: exit?.signal,
      stderr,
      connectionsLost: connections,
    },
  );
}

/** For people: `systemctl status` shows it to everybody, so without what a process said on stderr. */
export function failureText(error: unknown): string {
  const [reason] = toError(error).message.split('\n', 1);
  return `the handover failed: ${reason}`;
}

/** The process at the other end is gone. */
export function peerLost(message: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_PEER_LOST', message, { phase: 'PREPARE', stillServing: false });
}

/** Three generations were alive, and this one is not the one that goes on. */
export function anotherInCharge(): HandoverError {
  const message = 'the process in charge died, and another generation has taken charge';
  return new HandoverError('ERR_HANDOVER_ANOTHER_IN_CHARGE', message, { stillServing: false });
}

/** A bug of ours, or of the app where it was asked. */
export function internal(cause: unknown): HandoverError {
  const message = `unexpected: ${toError(cause).message}`;
  return new HandoverError('ERR_HANDOVER_INTERNAL', message, { cause, stillServing: false });
}
