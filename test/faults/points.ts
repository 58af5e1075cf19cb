// Where a fault can strike and what it can be, as data: a new frame is a line here.
import type { Phase } from '../../lib/events.js';

export const PHASES: readonly Phase[] = ['PREPARE', 'PROBATION', 'COMMIT', 'MIGRATE', 'DRAIN', 'RETIRE'];

export type Role = 'predecessor' | 'successor';

/** What the faulty process does. The last seven break the channel and leave the process running. */
export const KINDS = [
  'exit0',
  'exit1',
  'throw',
  'kill',
  'stop',
  'busy',
  'close',
  'half',
  'torn',
  'garbage',
  'many',
  'few',
] as const;
/**
 * `pause`: a stop that ends before anybody counts it as one. And two that are the successor's own: its health check fails;
 * it is told to end (`leave`).
 */
export type Kind = (typeof KINDS)[number] | 'none' | 'pause' | 'unhealthy' | 'leave';

/** The process is gone at once, or after the turn of the event loop it was in. */
export const DEADLY: readonly Kind[] = ['exit0', 'exit1', 'throw', 'kill'];
/** It hangs: until it is told to go on, or killed. */
export const HANGING: readonly Kind[] = ['stop', 'busy'];

export interface Point {
  readonly role: Role;
  /**
   * As fixtures/fault.mjs knows it: `sent:READY`, `phase:DRAIN`, `app:load`; `sent:X#2` is the second X, `sent:X>Y` the
   * first X after a Y. What follows an @ is for people.
   */
  readonly name: string;
  /** The phases the predecessor may be in when it notices. */
  readonly phases: readonly Phase[];
  /** What the other side does last before it waits for a predecessor that hangs here; 8 heartbeats unless said. */
  readonly quiet?: string;
  /** The harness gives the signal when the predecessor enters this phase. */
  readonly signalledAt?: Phase;
  /** The predecessor has no channel yet, or none any more: the faults of the channel cannot be. */
  readonly hasChannel?: false;
  /** Milliseconds of the longest request, and so of the drain, where it matters. */
  readonly longest?: number;
  /** Only these. */
  readonly kinds?: readonly Kind[];
  /** Nobody but the faulty process has the sockets: nothing is promised if it dies. */
  readonly isLast?: true;
  /** With many connections that stay: several batches are on their way. */
  readonly isMoving?: true;
  /** What the successor does at its second OFFER, which leads to the point. */
  readonly provoke?: 'unhealthy' | 'leave';
}

/** Every kind of fault that leaves no doubt where several batches are on their way, and a stop that nobody notices. */
const EVERY: readonly Kind[] = [...KINDS, 'pause'];
/** One of each nature. */
const SOME: readonly Kind[] = ['exit0', 'kill', 'stop', 'pause', 'close', 'garbage'];
const moving = { isMoving: true, phases: ['MIGRATE', 'DRAIN'], longest: 300 } as const;

export const POINTS: readonly Point[] = [
  { role: 'predecessor', name: 'phase:PREPARE', phases: ['PREPARE'], quiet: 'sent:HELLO', hasChannel: false },
  { role: 'predecessor', name: 'sent:HELLO', phases: ['PREPARE'], quiet: 'sent:HELLO' },
  { role: 'predecessor', name: 'received:HELLO', phases: ['PREPARE'], quiet: 'sent:HELLO' },
  { role: 'predecessor', name: 'sent:MANIFEST', phases: ['PREPARE'], quiet: 'sent:HELLO' },
  { role: 'predecessor', name: 'received:CLAIMED', phases: ['PREPARE'] },
  { role: 'predecessor', name: 'received:READY', phases: ['PREPARE', 'PROBATION'] },
  { role: 'predecessor', name: 'phase:PROBATION', phases: ['PROBATION'] },
  { role: 'predecessor', name: 'received:HEARTBEAT', phases: ['PREPARE', 'PROBATION'] },
  { role: 'predecessor', name: 'phase:COMMIT', phases: ['COMMIT'] },
  { role: 'predecessor', name: 'sent:COMMIT', phases: ['COMMIT'] },
  { role: 'predecessor', name: 'received:COMMITTED', phases: ['COMMIT', 'MIGRATE', 'DRAIN'] },
  { role: 'predecessor', name: 'phase:MIGRATE', phases: ['MIGRATE', 'DRAIN'] },
  { role: 'predecessor', name: 'phase:DRAIN', phases: ['MIGRATE', 'DRAIN'] },
  { role: 'predecessor', name: 'sent:HEARTBEAT', phases: ['MIGRATE', 'DRAIN'] },
  { role: 'predecessor', name: 'sent:OFFER', ...moving },
  { role: 'predecessor', name: 'sent:OFFER#3', ...moving, kinds: SOME },
  { role: 'predecessor', name: 'received:HELD', ...moving },
  { role: 'predecessor', name: 'received:HELD#2', ...moving, kinds: SOME },
  { role: 'predecessor', name: 'sent:GO', ...moving },
  { role: 'predecessor', name: 'sent:GO#3', ...moving, kinds: SOME },
  // By then it is one busy connection after another that became idle.
  { role: 'predecessor', name: 'sent:GO#6', ...moving, longest: 3_000, kinds: SOME },
  // The successor is not well: it is ended, and everything it was not given taken back. A `throw` would come after that.
  {
    role: 'predecessor',
    name: 'sent:ABORT',
    ...moving,
    provoke: 'unhealthy',
    kinds: ['exit0', 'exit1', 'kill', 'stop', 'close', 'half', 'garbage'],
  },
  // The successor was told to end: what it was not given ends here.
  {
    role: 'predecessor',
    name: 'received:ABORT',
    ...moving,
    provoke: 'leave',
    kinds: ['exit0', 'kill', 'stop', 'close'],
  },
  { role: 'predecessor', name: 'phase:RETIRE', phases: ['RETIRE'] },
  { role: 'predecessor', name: 'sent:RETIRE', phases: ['RETIRE'] },

  { role: 'successor', name: 'app:load', phases: ['PREPARE'], hasChannel: false },
  { role: 'successor', name: 'sent:HELLO', phases: ['PREPARE'] },
  { role: 'successor', name: 'received:HELLO', phases: ['PREPARE'] },
  { role: 'successor', name: 'received:MANIFEST', phases: ['PREPARE'] },
  { role: 'successor', name: 'app:loading', phases: ['PREPARE'] },
  { role: 'successor', name: 'sent:CLAIMED', phases: ['PREPARE', 'PROBATION'] },
  { role: 'successor', name: 'sent:READY', phases: ['PREPARE', 'PROBATION'] },
  { role: 'successor', name: 'sent:HEARTBEAT', phases: ['PREPARE', 'PROBATION'] },
  { role: 'successor', name: 'signal@PROBATION', phases: ['PROBATION', 'COMMIT'], signalledAt: 'PROBATION' },
  { role: 'successor', name: 'received:COMMIT', phases: ['COMMIT'] },
  { role: 'successor', name: 'app:in-charge', phases: ['COMMIT', 'MIGRATE', 'DRAIN'] },
  { role: 'successor', name: 'sent:COMMITTED', phases: ['COMMIT', 'MIGRATE', 'DRAIN'] },
  { role: 'successor', name: 'sent:HEARTBEAT>COMMITTED', phases: ['MIGRATE', 'DRAIN'] },
  { role: 'successor', name: 'received:OFFER', ...moving, kinds: EVERY },
  { role: 'successor', name: 'received:OFFER#2', ...moving, kinds: ['unhealthy', 'leave'] },
  { role: 'successor', name: 'received:OFFER#5', ...moving, kinds: SOME },
  { role: 'successor', name: 'sent:HELD', ...moving, kinds: EVERY },
  { role: 'successor', name: 'sent:HELD#3', ...moving, kinds: SOME },
  { role: 'successor', name: 'received:GO', ...moving, kinds: EVERY },
  { role: 'successor', name: 'received:GO#3', ...moving, kinds: SOME },
  { role: 'successor', name: 'received:GO#6', ...moving, longest: 3_000, kinds: SOME },
  { role: 'successor', name: 'sent:ABORT', ...moving, provoke: 'leave', kinds: ['exit0', 'kill', 'stop'] },
  {
    role: 'successor',
    name: 'signal@DRAIN all moved',
    ...moving,
    longest: 3_000,
    signalledAt: 'DRAIN',
    kinds: ['kill', 'close', 'pause', 'unhealthy', 'leave'],
  },
  { role: 'successor', name: 'signal@DRAIN', phases: ['DRAIN'], signalledAt: 'DRAIN' },
  { role: 'successor', name: 'received:HEARTBEAT', phases: ['MIGRATE', 'DRAIN'] },
  // The predecessor has nothing to wait for, long before the silence is noticed: it must not retire before it is sure.
  {
    role: 'successor',
    name: 'received:HEARTBEAT@quick',
    phases: ['MIGRATE', 'DRAIN', 'RETIRE'],
    longest: 800,
    kinds: ['kill', 'stop', 'busy'],
  },
  { role: 'successor', name: 'received:RETIRE', phases: ['RETIRE'], isLast: true },
];

/** One cell of the matrix. */
export interface Cell {
  readonly point: Point;
  readonly kind: Kind;
}

export function label({ point, kind }: Cell): string {
  return `${point.role} ${point.name} ${kind}`;
}

/** The whole matrix. */
export function allCells(): Cell[] {
  return POINTS.flatMap((point) =>
    (point.kinds ?? KINDS)
      .filter((kind) => {
        const isAlive = DEADLY.includes(kind) || HANGING.includes(kind);
        if (point.hasChannel === false && !isAlive) return false;
        return !(point.isLast && (DEADLY.includes(kind) || kind === 'busy'));
      })
      .map((kind) => ({ point, kind })),
  );
}

/** Whether the successor is told to end: nobody is left then, unless it dies of a fault before it says so. */
export function leaves({ point, kind }: Cell): boolean {
  return kind === 'leave' || point.provoke === 'leave';
}
