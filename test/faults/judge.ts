// What each cell of the matrix must lead to: who serves afterwards, how both processes ended, and what whoever asked for
// the handover was told (G5, G8).
import type { HandoverErrorCode } from '../../lib/errors.js';
import type { Log } from './log.js';
import { type Cell, DEADLY, HANGING, leaves, PHASES } from './points.js';

export interface Ending {
  readonly log: Log;
  readonly first: number;
  readonly survivor: number | undefined;
  /** How the first process ended; both null where it has not. */
  readonly firstExit: { readonly code: number | null; readonly signal: string | null };
}

interface Told {
  readonly code?: string;
  readonly phase?: string;
  readonly stillServing?: boolean;
  readonly exitCode?: number | null;
  readonly exitSignal?: string | null;
  readonly isHandoverError?: boolean;
  readonly message?: string;
  readonly connectionsLost?: number;
}

type Who = 'predecessor' | 'successor' | 'nobody';
type Expected = Who | 'either' | 'anybody or nobody';

/** Everything that is not as it must be, as sentences. */
export function judge(asked: Cell, ending: Ending): string[] {
  // A random moment may come when all is over.
  const cell: Cell = ending.log.all.some(({ event }) => event === 'fault') ? asked : { ...asked, kind: 'none' };
  const expected = expectedSurvivor(cell, ending);
  const { survivor, first } = ending;
  const actual: Who = survivor === undefined ? 'nobody' : survivor === first ? 'predecessor' : 'successor';
  if (expected === 'either' && actual === 'nobody') return ['nobody serves afterwards'];
  const isOpen = expected === 'either' || expected === 'anybody or nobody';
  if (!isOpen && actual !== expected) return [`${expected} should serve afterwards, ${actual} does`];
  const wrong = actual === 'predecessor' ? judgeRecall(cell, ending) : judgeHandedOver(cell, ending);
  return [...wrong, ...judgeFirstExit(cell, ending, actual)];
}

function expectedSurvivor({ point, kind }: Cell, { log, first }: Ending): Expected {
  if (kind === 'none') return 'successor';
  if (point.name === 'random') {
    // Nothing is promised where one process alone had the sockets.
    const wasAlone = log.hasFrame(first, 'sent', point.role === 'successor' ? 'RETIRE' : 'MANIFEST');
    return wasAlone === (point.role === 'successor') ? 'anybody or nobody' : 'either';
  }
  if (kind === 'pause') return 'successor';
  if (leaves({ point, kind }) && (kind === 'leave' || point.role === 'predecessor')) return 'nobody';
  // What ends the successor is decided already; a predecessor that dies before it said so has not done it.
  if (point.provoke === 'unhealthy') return DEADLY.includes(kind) ? 'successor' : 'predecessor';
  if (point.role === 'successor') return point.isLast ? 'successor' : 'predecessor';
  if (HANGING.includes(kind)) return 'successor';
  // It had already decided to go: nobody but the successor can be left, unless it takes back after all.
  if (point.phases.includes('RETIRE')) return DEADLY.includes(kind) ? 'successor' : 'either';
  // What comes last may lie unread in half a frame: the end of the stream is then all there is.
  if ((kind === 'torn' || kind === 'few') && point.phases.includes('DRAIN')) return 'either';
  if (!DEADLY.includes(kind)) return 'predecessor';
  // A frame is announced before it is sent: what died at that instant did not send it.
  const diesBefore = point.name === 'sent:MANIFEST' && kind !== 'throw';
  return log.hasFrame(first, 'sent', 'MANIFEST') && !diesBefore ? 'successor' : 'nobody';
}

/** The predecessor serves: it never stopped, or has taken everything back. */
function judgeRecall({ point, kind }: Cell, { log, first }: Ending): string[] {
  const wrong: string[] = [];
  const hadResolved = log.has(first, 'resolved');
  const told = log.fields<Told | undefined>(first, hadResolved ? 'failed' : 'rejected');
  if (!told) return [`the predecessor ${hadResolved ? 'published no failure' : 'did not reject upgrade()'}`];
  if (!hadResolved && !told.isHandoverError) wrong.push(`upgrade() rejected with no HandoverError: ${told.message}`);
  const { code = '', phase = '', stillServing } = told;
  if (stillServing !== true) wrong.push(`stillServing is ${stillServing}`);
  const phases = expectedPhases({ point, kind });
  if (!phases.includes(phase)) wrong.push(`the phase is ${phase}, not ${phases.join(' or ')}`);
  const codes = expectedCodes({ point, kind }, phase);
  if (!(codes as readonly string[]).includes(code))
    wrong.push(`the code is ${code}, not ${codes.join(' or ')}: ${told.message}`);
  if (hadResolved && log.of(first, 'in-charge').length !== 2)
    wrong.push('the predecessor did not say that it is in charge again');
  if (point.role === 'successor') wrong.push(...judgeSuccessorExit({ point, kind }, told, log));
  if (point.isMoving) wrong.push(...judgeCount(told, log));
  return wrong;
}

/** A thrown error ends the process a little later, and what breaks the channel is found when the other side reads on. */
function expectedPhases({ point, kind }: Cell): readonly string[] {
  if (kind === 'torn' || kind === 'few' || kind === 'throw')
    return PHASES.slice(PHASES.indexOf(point.phases[0] ?? 'PREPARE'));
  if (point.role === 'successor' || DEADLY.includes(kind) || HANGING.includes(kind)) return point.phases;
  return [...point.phases, ...PHASES.slice(PHASES.indexOf(point.phases.at(-1) ?? 'PREPARE') + 1).slice(0, 1)];
}

function expectedCodes({ point, kind }: Cell, phase: string): readonly HandoverErrorCode[] {
  if (phase === 'PROBATION' || kind === 'unhealthy' || point.provoke === 'unhealthy') {
    return ['ERR_HANDOVER_PROBATION_FAILED'];
  }
  if (DEADLY.includes(kind)) return ['ERR_HANDOVER_SUCCESSOR_EXITED'];
  if (HANGING.includes(kind) || kind === 'pause') return ['ERR_HANDOVER_TIMEOUT'];
  // A closed channel is all the other side sees of a death.
  if (kind === 'close' || kind === 'half') return ['ERR_HANDOVER_SUCCESSOR_EXITED'];
  // A successor in charge may close the channel of a predecessor that breaks the protocol, and is ended; or say why.
  const isInCharge = point.role === 'predecessor' && phase !== 'PREPARE' && phase !== 'COMMIT';
  const ended: readonly HandoverErrorCode[] = isInCharge ? ['ERR_HANDOVER_SUCCESSOR_EXITED'] : [];
  // Half a frame is whole when the next one's bytes have come; where none comes, only the deadline ends it.
  if (kind === 'torn' || kind === 'few') return ['ERR_HANDOVER_PROTOCOL', 'ERR_HANDOVER_TIMEOUT', ...ended];
  if (isInCharge) return ['ERR_HANDOVER_PROTOCOL', ...ended];
  return ['ERR_HANDOVER_PROTOCOL'];
}

/** What died with the successor is counted in the outcome: as it last said, and what it was given since. */
function judgeCount({ connectionsLost = 0 }: Told, log: Log): string[] {
  const lost = log.lostWith(log.successor ?? 0);
  // Some came and went since the last heartbeat.
  return Math.abs(lost - connectionsLost) <= 30 ? [] : [`connectionsLost is ${connectionsLost}, ${lost} died with it`];
}

/** As its parent was told: exit code and signal, both. */
function judgeSuccessorExit({ kind }: Cell, { exitCode, exitSignal }: Told, log: Log): string[] {
  const actual = exitSignal ?? exitCode ?? 'unknown';
  const allowed: Partial<Record<Cell['kind'], readonly unknown[]>> = {
    exit0: [0],
    exit1: [1],
    throw: [1],
    kill: ['SIGKILL'],
    // Continued, it finds ABORT and SIGTERM; one that was in charge gets SIGKILL before it can run.
    stop: log.has(log.successor ?? 0, 'in-charge') ? ['SIGKILL'] : [0, 1, 'SIGKILL'],
    busy: ['SIGKILL'],
    unhealthy: ['SIGKILL'],
  };
  const codes = allowed[kind] ?? [0, 1, 'SIGKILL'];
  return codes.includes(actual) ? [] : [`the successor ended with ${actual}, not ${codes.join(' or ')}`];
}

/** The successor serves, or nobody is left. */
function judgeHandedOver({ point, kind }: Cell, { log, first, survivor }: Ending): string[] {
  if (point.role === 'predecessor' && DEADLY.includes(kind)) return [];
  if (survivor === undefined) return [];
  const resolved = log.fields<{ generation: number; successor: number } | undefined>(first, 'resolved');
  if (!resolved) return ['upgrade() did not resolve'];
  if (resolved.generation === 2 && resolved.successor === survivor) return [];
  return [`upgrade() resolved with generation ${resolved.generation}, process ${resolved.successor}`];
}

function judgeFirstExit({ point, kind }: Cell, { firstExit: { code, signal } }: Ending, actual: Who): string[] {
  const how = signal ?? code;
  if (actual === 'predecessor') return how === null ? [] : [`the predecessor ended with ${how}`];
  const own: Partial<Record<Cell['kind'], unknown>> = { exit0: 0, exit1: 1, throw: 1, kill: 'SIGKILL' };
  const expected = point.role === 'predecessor' ? (own[kind] ?? 0) : 0;
  // It may end by itself before the error is thrown, a turn of the event loop later.
  if (how === 0 && kind === 'throw' && point.phases.includes('RETIRE')) return [];
  return how === expected ? [] : [`the predecessor ended with ${how}, not ${expected}`];
}
