// The end of a handover, for its requester: what `upgrade()` resolves with, and the error it rejects with.

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
  /** Names of the listeners that the successor claimed, and of those that it did not. */
  readonly claimed: readonly string[];
  readonly unclaimed: readonly string[];
  /** Listeners that the successor has bound itself, if any. */
  readonly bound?: Claims['bound'];
}

/** What is known of a successor that failed. */
export interface Remains {
  readonly phase: Phase | undefined;
  readonly exit: Exit | undefined;
  readonly stderr: string;
  /** Connections that the successor owned, by its last heartbeat; undefined without one. */
  readonly connections: number | undefined;
}

/** Whether the failure is the successor's own end, so that its exit explains more than a later signal to it. */
export function hasEnded(error: unknown): boolean {
  return error instanceof HandoverError && error.code === 'ERR_HANDOVER_SUCCESSOR_EXITED';
}

/** Codes of failures that say nothing about the successor: this process was told to end, or to abort the handover. */
const NO_JUDGEMENT: readonly HandoverErrorCode[] = ['ERR_HANDOVER_CLOSED', 'ERR_HANDOVER_CANCELLED'];

/** Adds to the error how the successor ended, its last lines on stderr, and the connections lost with it. */
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

/** One line for people. Without the successor's stderr, because `systemctl status` shows it to every user. */
export function failureText(error: unknown): string {
  const [reason] = toError(error).message.split('\n', 1);
  return `the handover failed: ${reason}`;
}

/** The error for a peer that has ended. */
export function peerLost(message: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_PEER_LOST', message, { phase: 'PREPARE', stillServing: false });
}

/** The error for a generation that lost the charge to another one. */
export function anotherInCharge(): HandoverError {
  const message = 'the process in charge died, and another generation has taken charge';
  return new HandoverError('ERR_HANDOVER_ANOTHER_IN_CHARGE', message, { stillServing: false });
}

/** The error for an unexpected exception: a bug of this package, or of a function of the app. */
export function internal(cause: unknown): HandoverError {
  const message = `an unexpected error: ${toError(cause).message}`;
  return new HandoverError('ERR_HANDOVER_INTERNAL', message, { cause, stillServing: false });
}
