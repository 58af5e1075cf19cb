// The events of handovers, for counts, logs and timelines: one record for each handover, from the request to the end.

import { HandoverError, toError } from '../errors.js';
import {
  HANDOVER_RESULTS,
  type HandoverCounts,
  type HandoverEvents,
  type HandoverResult,
  type Phase,
  publish,
  type ReleaseName,
  type Requester,
} from '../events.js';
import type { EndedHandover, Hello } from '../protocol/frames.js';
import { PhaseLog } from './phase-log.js';

/** What became of the connections of a draining process. */
export interface Fates {
  readonly moved: number;
  readonly ended: number;
  readonly cut: number;
}

/** The record of one handover in the predecessor. */
export class HandoverRecord {
  /**
   * The successor learns it by HELLO. Crypto is not imported: loading it costs 2 ms, which a process that hands nothing
   * over should not pay.
   */
  readonly id: string = process.getBuiltinModule('node:crypto').randomUUID();
  readonly log: PhaseLog = new PhaseLog();
  readonly #generation: number;
  readonly #requester: Requester;
  readonly #from: ReleaseName | undefined;
  readonly #start = performance.now();
  #to: ReleaseName | undefined;
  #pid: number | undefined;
  #fates: Fates = { moved: 0, ended: 0, cut: 0 };
  #cancellation: { readonly reason: unknown } | undefined;
  #isOver = false;

  constructor({ generation, release }: Hello, requester: Requester, profile: string | undefined) {
    this.#generation = generation;
    this.#requester = requester;
    this.#from = nameOf(release);
    publish('requested', { handoverId: this.id, generation, requester, profile });
  }

  /** Publishes the start of the successor. `since`: `performance.now()` before the start. */
  spawned(pid: number, since: number): void {
    this.#pid = pid;
    const durationMs = performance.now() - since;
    publish('spawn', { handoverId: this.id, pid, startedAt: Date.now() - durationMs, durationMs });
  }

  /** Notes pid and release from the successor's HELLO. */
  met({ pid, release }: Hello): void {
    this.#pid = pid;
    this.#to = nameOf(release);
  }

  entered(phase: Phase): void {
    if (!this.log.enter(phase)) return;
    publish('phase', { handoverId: this.id, phase, role: 'predecessor', generation: this.#generation });
  }

  drained(fates: Fates): void {
    const { moved, ended, cut } = fates;
    this.#fates = { moved, ended, cut };
  }

  /** Notes how many connections had migrated when the successor failed. */
  recalled(moved: number): void {
    this.#fates = { ...this.#fates, moved };
  }

  /** Notes that the requester cancelled the handover, for this reason. */
  cancelled(reason: unknown): void {
    this.#cancellation = { reason };
  }

  /** Publishes the failure. */
  failed(reason: unknown): void {
    const error = toError(reason);
    const { phase, stillServing = true } = error as Partial<HandoverError>;
    const code = this.#codeOf(reason);
    publish('failed', { handoverId: this.id, generation: this.#generation, code, phase, stillServing, error });
  }

  /** Publishes the outcome. Further calls do nothing. */
  end(result: HandoverResult, error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.log.end();
    publish('outcome', {
      ...this.counts(result, error),
      role: 'predecessor',
      isFirstHand: true,
      phase: this.log.current,
      lost: error instanceof HandoverError ? error.connectionsLost : undefined,
      requester: this.#requester,
      from: this.#from,
      to: this.#to,
      successorPid: this.#pid,
    });
  }

  /** The counts of the outcome, as if the handover ended now. */
  counts(result: HandoverResult, error?: unknown): HandoverCounts {
    return {
      handoverId: this.id,
      generation: this.#generation,
      result,
      code: error === undefined ? undefined : this.#codeOf(error),
      durationMs: performance.now() - this.#start,
      phases: this.log.soFar,
      ...this.#fates,
    };
  }

  #codeOf(error: unknown): string {
    const isCancelled = this.#cancellation !== undefined && this.#cancellation.reason === error;
    return isCancelled && !(error instanceof HandoverError) ? 'ABORT_ERR' : codeOf(error);
  }
}

/** Publishes a handover that was refused before it began, or failed in another process, as one of this process. */
export function tellFailure(hello: Hello, { requester, profile }: Asked, error: unknown): void {
  const record = new HandoverRecord(hello, requester ?? { by: 'app', pid: hello.pid }, profile);
  record.failed(error);
  record.end('failed', error);
}

interface Asked {
  readonly requester?: Requester | undefined;
  readonly profile?: string | undefined;
}

/** Publishes handovers that ended in other processes: the predecessor reports them, or has died. */
export class OutcomeRelay {
  /** Outcomes since COMMIT, which the successor is to count. */
  readonly #ended: EndedHandover[] = [];

  /** Publishes the outcomes of the predecessor's RETIRE. */
  heard(outcomes: readonly EndedHandover[] = []): void {
    for (const outcome of outcomes) {
      const { result } = outcome;
      // A newer version may know further results.
      if (isResult(result)) this.#tell({ ...outcome, result }, false);
    }
  }

  /** Publishes that the predecessor died while this process took over. `since`: `performance.now()` when it joined. */
  lost(predecessor: Hello | undefined, since: number): void {
    if (predecessor?.handoverId === undefined) return;
    const { handoverId, generation } = predecessor;
    const durationMicros = toMicros(performance.now() - since);
    const fates = { moved: 0, ended: 0, cut: 0 };
    const code = 'ERR_HANDOVER_PEER_LOST';
    this.#tell(
      { handoverId, generation, result: 'predecessor-lost', code, durationMicros, phases: [], ...fates },
      true,
    );
  }

  /** The outcomes for RETIRE: all that the successor has not been told, and the handover to it. */
  toSay(record: HandoverRecord): readonly EndedHandover[] {
    const { phases, durationMs, code, ...counts } = record.counts('completed');
    const own: EndedHandover = {
      ...counts,
      durationMicros: toMicros(durationMs),
      phases: phases.map(({ name, startedAt, durationMs }) => ({
        name,
        startedAt,
        durationMicros: toMicros(durationMs),
      })),
    };
    return [...this.#ended, own];
  }

  /** Forgets the outcomes so far at COMMIT: the state that goes to the successor includes them. */
  begin(): void {
    this.#ended.length = 0;
  }

  #tell(outcome: EndedHandover & { readonly result: HandoverResult }, isFirstHand: boolean): void {
    this.#ended.push(outcome);
    const { durationMicros, phases, code, ...counts } = outcome;
    const event: HandoverEvents['outcome'] = {
      ...counts,
      code,
      durationMs: durationMicros / 1_000,
      phases: phases.map(({ name, startedAt, durationMicros: micros }) => ({
        name: name as Phase,
        startedAt,
        durationMs: micros / 1_000,
      })),
      role: 'successor',
      isFirstHand,
      phase: undefined,
      lost: undefined,
      requester: undefined,
      from: undefined,
      to: undefined,
      successorPid: undefined,
    };
    publish('outcome', event);
  }
}

function isResult(result: string): result is HandoverResult {
  return (HANDOVER_RESULTS as readonly string[]).includes(result);
}

function nameOf(release: Hello['release']): ReleaseName | undefined {
  return release && { entry: release.entry, version: release.version };
}

/** The code as text. The `code` of an AbortSignal's own reasons is a number of the DOM. */
function codeOf(error: unknown): string {
  const { name, code } = (error ?? {}) as { readonly name?: unknown; readonly code?: unknown };
  if (name === 'AbortError' || name === 'TimeoutError') return 'ABORT_ERR';
  return typeof code === 'string' ? code : 'ERR_HANDOVER_INTERNAL';
}

function toMicros(milliseconds: number): number {
  return Math.max(0, Math.round(milliseconds * 1_000));
}
