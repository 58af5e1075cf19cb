// The life of a process that can hand over, as a table: what may happen in which state, what state follows, and what is to
// be done then. Nothing here acts; executor.ts does what the table says.

import { HandoverError } from '../errors.js';

export type LifeState =
  /** The app loads, and claims what was handed over. */
  | 'loading'
  /** Accepts, or waits as a standby; another process is in charge, or none yet. */
  | 'ready'
  | 'takingCharge'
  /** In charge. */
  | 'serving'
  /** COMMIT is on its way: what is handed over is collected, and this process accepts no more. */
  | 'steppingDown'
  /** The successor failed before it was in charge: what was given up comes back. */
  | 'resuming'
  /** The successor is in charge. */
  | 'draining'
  /** The same, and this process ends even if the successor fails. */
  | 'drainingToEnd'
  /** The successor failed after it was in charge: what was given up comes back. */
  | 'recalling'
  | 'recallingToEnd'
  /** RETIRE was said: nothing comes back any more. */
  | 'retired'
  /** Ends, and nobody comes after this process. */
  | 'closing'
  /** Ends, because another process is in charge. */
  | 'withdrawing'
  | 'closed';

export type LifeEvent =
  /** Everything is claimed, and the listeners accept. */
  | 'ready'
  /** COMMIT came; or no predecessor is there, or none any more. */
  | 'takeCharge'
  | 'tookCharge'
  /** The charge could not be taken. */
  | 'failed'
  /** The handover is at COMMIT. */
  | 'stepDown'
  /** The successor said COMMITTED. */
  | 'superseded'
  /** The successor failed, and the arbiter gives the charge back to this process. */
  | 'takeBack'
  | 'takenBack'
  /** The successor failed, and another generation has taken charge. */
  | 'relieved'
  /** The successor ends on purpose. */
  | 'letGo'
  /** RETIRE was said. */
  | 'retired'
  /** The predecessor has ended. */
  | 'alone'
  /** The app, a signal, an operator or the supervisor asks for the end. */
  | 'close'
  /** The same by a supervisor that names processes to take the connections. */
  | 'transfer'
  /** The predecessor gave the handover up and serves; or it still serves when the app asks for the end. */
  | 'withdraw'
  | 'ended';

export type Effect =
  | 'abandonRole'
  | 'abortClosing'
  | 'abortHandover'
  | 'accept'
  | 'adoptStderr'
  | 'answerProbes'
  | 'awaitServiceManager'
  | 'becomeAloneIfBereft'
  | 'closeArbiter'
  | 'closeLeavingPaths'
  | 'closeRemovingPaths'
  | 'closeUnclaimed'
  | 'closeUnclaimedListeners'
  | 'collect'
  | 'drain'
  | 'drainBesideSuccessor'
  | 'endRole'
  | 'endServices'
  | 'finishServers'
  | 'forgetOutcomes'
  | 'leavePredecessor'
  | 'leaveRole'
  | 'obtainArbiter'
  | 'publishInCharge'
  | 'publishInChargeAgain'
  | 'recordFailure'
  | 'refuseReady'
  | 'releaseReserve'
  | 'renewClosing'
  | 'resolveClosed'
  | 'resolveReady'
  | 'resume'
  | 'runHooks'
  | 'sign'
  | 'stayHere'
  | 'suspendAll'
  | 'suspendClaimed'
  | 'takeRole'
  | 'takeRoleAnyhow'
  | 'tellAlone'
  | 'tellClosing'
  | 'tellInCharge'
  | 'tellServesOn'
  | 'tellSuperseded'
  | 'tellWithdrawing'
  | 'yieldArbiter'
  | 'yieldRole';

export interface Transition {
  readonly to: LifeState;
  /** Done one after the other; those that are left are not when another event has changed the state meanwhile. */
  readonly effects: readonly Effect[];
  /** What has happened when all of them are done. */
  readonly next?: LifeEvent | undefined;
}

/** What is true of a process in a state. */
export interface Standing {
  /** For operators, who are not to learn every step of ours. */
  readonly phase: 'loading' | 'ready' | 'serving' | 'draining' | 'closing' | 'closed';
  /** As the app and operators hear it. */
  readonly isInCharge: boolean;
  /** Whether the app may still change what this process does. */
  readonly isOpen: boolean;
  /** Whether a successor gets what the app opens now. */
  readonly handsOver: boolean;
  /** It is to end as soon as it is in charge again: any other process is the better one to be. */
  readonly resigns: boolean;
}

type Table = Readonly<Record<LifeState, Readonly<Partial<Record<LifeEvent, Transition>>>>>;

function to(state: LifeState, effects: readonly Effect[] = [], next?: LifeEvent): Transition {
  return { to: state, effects, next };
}

/** The last steps of every process. */
const END: readonly Effect[] = [
  'leavePredecessor',
  'closeLeavingPaths',
  'releaseReserve',
  'finishServers',
  'runHooks',
  'leaveRole',
  'endServices',
];

const STOP: readonly Effect[] = ['abortClosing', 'refuseReady', 'abortHandover'];
const CLOSE_AND_DRAIN: readonly Effect[] = ['leavePredecessor', 'suspendAll', 'closeRemovingPaths', 'drain', ...END];

const CLOSE = to('closing', ['tellClosing', ...STOP, 'endRole', ...CLOSE_AND_DRAIN], 'ended');
/** Those who get the connections are in charge of what this process was. */
const TRANSFER = to('closing', ['tellClosing', ...STOP, 'yieldRole', ...CLOSE_AND_DRAIN], 'ended');
const WITHDRAW = to(
  'withdrawing',
  ['tellWithdrawing', ...STOP, 'abandonRole', 'leavePredecessor', 'suspendAll', 'closeLeavingPaths', 'drain', ...END],
  'ended',
);

const TAKE_CHARGE = to('takingCharge', ['obtainArbiter', 'accept', 'takeRole'], 'tookCharge');
const TOOK_CHARGE = to('serving', ['sign', 'resolveReady', 'tellInCharge', 'becomeAloneIfBereft', 'publishInCharge']);
const STEP_DOWN = to('steppingDown', [
  'forgetOutcomes',
  'yieldRole',
  'suspendClaimed',
  'releaseReserve',
  'collect',
  'yieldArbiter',
]);
const SUPERSEDED: readonly Effect[] = ['abortClosing', 'tellSuperseded', 'drainBesideSuccessor'];
const TAKE_BACK: readonly Effect[] = ['sign', 'resume', 'takeRoleAnyhow'];
/** Whoever ends as soon as it is in charge again does not sign for that moment. */
const TAKE_BACK_TO_END: readonly Effect[] = ['resume', 'takeRoleAnyhow'];
const RECALLED: readonly Effect[] = ['renewClosing', 'tellServesOn', 'recordFailure', 'publishInChargeAgain'];
const LET_GO: readonly Effect[] = ['stayHere', 'closeLeavingPaths'];
const RETIRED = to('retired', ['closeArbiter', 'awaitServiceManager', ...END], 'ended');
const ALONE: readonly Effect[] = ['answerProbes', 'closeUnclaimed', 'tellAlone'];

/** Events that say nothing new to a process that ends. */
function late(state: LifeState): Readonly<Partial<Record<LifeEvent, Transition>>> {
  return {
    alone: to(state),
    letGo: to(state),
    relieved: to(state),
    close: to(state),
    transfer: to(state),
    withdraw: to(state),
  };
}

export const LIFECYCLE: Table = {
  loading: {
    ready: to('ready', ['adoptStderr', 'closeUnclaimedListeners']),
    alone: to('loading', ['answerProbes']),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  ready: {
    takeCharge: TAKE_CHARGE,
    alone: to('ready', ['answerProbes']),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  takingCharge: {
    tookCharge: TOOK_CHARGE,
    failed: to('ready', ['suspendAll']),
    alone: to('takingCharge', ['answerProbes']),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  serving: {
    stepDown: STEP_DOWN,
    alone: to('serving', ALONE),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  steppingDown: {
    superseded: to('draining', SUPERSEDED),
    takeBack: to('resuming', TAKE_BACK, 'takenBack'),
    relieved: WITHDRAW,
    // It may end in the moment in which it is in charge, before this process has heard the one and the other.
    letGo: to('steppingDown', LET_GO),
    // Probes are the successor's to answer.
    alone: to('steppingDown', ['closeUnclaimed', 'tellAlone']),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  resuming: {
    takenBack: to('serving'),
    alone: to('resuming', ALONE),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  draining: {
    takeBack: to('recalling', TAKE_BACK),
    relieved: WITHDRAW,
    letGo: to('draining', LET_GO),
    retired: RETIRED,
    alone: to('draining'),
    close: to('drainingToEnd'),
    transfer: to('drainingToEnd'),
    // The successor is in charge, whatever the predecessor believes.
    withdraw: to('drainingToEnd'),
  },
  drainingToEnd: {
    takeBack: to('recallingToEnd', TAKE_BACK_TO_END),
    relieved: WITHDRAW,
    letGo: to('drainingToEnd', LET_GO),
    retired: RETIRED,
    alone: to('drainingToEnd'),
    close: to('drainingToEnd'),
    transfer: to('drainingToEnd'),
    withdraw: to('drainingToEnd'),
  },
  recalling: {
    takenBack: to('serving', RECALLED),
    alone: to('recalling', ['answerProbes']),
    close: to('recallingToEnd'),
    transfer: to('recallingToEnd'),
    withdraw: WITHDRAW,
  },
  recallingToEnd: {
    takenBack: to('closing', [...RECALLED, ...CLOSE.effects], 'ended'),
    alone: to('recallingToEnd'),
    close: to('recallingToEnd'),
    transfer: to('recallingToEnd'),
    withdraw: WITHDRAW,
  },
  retired: { ...late('retired'), ended: to('closed', ['resolveClosed']) },
  closing: {
    ...late('closing'),
    // The successor was in charge before it could be told that the handover is off.
    superseded: to('drainingToEnd', SUPERSEDED),
    takeBack: to('closing', TAKE_BACK_TO_END),
    takenBack: to('closing', ['recordFailure']),
    ended: to('closed', ['resolveClosed']),
  },
  withdrawing: {
    ...late('withdrawing'),
    superseded: to('drainingToEnd', SUPERSEDED),
    takeBack: to('withdrawing', TAKE_BACK),
    takenBack: to('withdrawing', ['recordFailure']),
    ended: to('closed', ['resolveClosed']),
  },
  // The handover that was taken back may outlive the process that ended meanwhile.
  closed: { ...late('closed'), takenBack: to('closed', ['recordFailure']) },
};

const YOUNG = { isInCharge: false, isOpen: true, handsOver: true, resigns: false } as const;
const ENDS = { isInCharge: false, isOpen: false, handsOver: false, resigns: false } as const;

export const STANDING: Readonly<Record<LifeState, Standing>> = {
  loading: { ...YOUNG, phase: 'loading' },
  ready: { ...YOUNG, phase: 'ready' },
  takingCharge: { ...YOUNG, phase: 'ready' },
  serving: { ...YOUNG, phase: 'serving', isInCharge: true },
  steppingDown: { ...YOUNG, phase: 'serving', isInCharge: true, handsOver: false },
  resuming: { ...YOUNG, phase: 'serving', isInCharge: true },
  draining: { ...ENDS, phase: 'draining' },
  drainingToEnd: { ...ENDS, phase: 'draining', resigns: true },
  recalling: { ...ENDS, phase: 'draining' },
  recallingToEnd: { ...ENDS, phase: 'draining', resigns: true },
  retired: { ...ENDS, phase: 'draining' },
  closing: { ...ENDS, phase: 'closing', resigns: true },
  withdrawing: { ...ENDS, phase: 'closing' },
  closed: { ...ENDS, phase: 'closed' },
};

/** The state of one process, and the only place that changes it. */
export class Lifecycle {
  readonly #table: Table;
  #state: LifeState = 'loading';
  /** How often the state has changed: it may be the same one again, and another time. */
  #changes = 0;

  constructor(table: Table = LIFECYCLE) {
    this.#table = table;
  }

  get standing(): Standing {
    return STANDING[this.#state];
  }

  get changes(): number {
    return this.#changes;
  }

  /** @throws ERR_HANDOVER_INTERNAL a bug: it may not happen now */
  step(event: LifeEvent): Transition {
    const transition = this.#table[this.#state][event];
    if (!transition)
      throw new HandoverError('ERR_HANDOVER_INTERNAL', `${event} while this process is ${this.#state}`, {
        stillServing: true,
      });
    if (transition.to !== this.#state) this.#changes += 1;
    this.#state = transition.to;
    return transition;
  }
}
