// All that can happen to a predecessor A and its successor B: their two lives (the table of lifecycle.ts), the two sides of
// the handover between them (the tables of machine.ts), every frame, each effect by itself, ends asked for, failures and
// deaths, in every order. The decisions are the library's own; what is modelled are the channel, the kernel's locks, how the
// executor runs effects, and what OutgoingHandover and IncomingHandover do between two transitions.
import { firstByteOf, type Right, verdictOf } from '../../lib/handover/arbiter.js';
import {
  PREDECESSOR,
  type PredecessorEvent,
  type PredecessorState,
  SUCCESSOR,
  type SuccessorEvent,
  type SuccessorState,
} from '../../lib/handover/machine.js';
import { type Effect, type LIFECYCLE, type LifeEvent, type LifeState, STANDING } from '../../lib/process/lifecycle.js';
import {
  type Explored,
  explore as exploreFrom,
  type Model as ModelOf,
  next,
  type Step as StepOf,
} from '../helpers/worlds.js';

export type LifeTable = typeof LIFECYCLE;

/** What the model leaves to chance, and how often. */
export interface Chances {
  readonly kills: number;
  /** `close()` in either process. */
  readonly closes: number;
  /** Handovers that A gives up, for a timeout or a signal. */
  readonly aborts: number;
  /** A's own predecessor ends, or takes everything back. */
  readonly olders: number;
  /** B cannot take charge. */
  readonly failures: number;
}

/** One call of `Executor.#do`, waiting for its first effect. */
interface Run {
  /** Nothing follows the effect that is not over yet. */
  readonly isOvertaken: boolean;
  readonly left: readonly Effect[];
  readonly next: LifeEvent | undefined;
  /** What it began with: COMMIT, taking back and B's charge wait for its end. */
  readonly of: LifeEvent;
}

interface Process {
  isAlive: boolean;
  life: LifeState;
  /** How often the state has changed; what depends on it is in `runs`. */
  changes: number;
  runs: Run[];
  /** Pid file, takeover socket, the app's duties. */
  hasRole: boolean;
  /** A listener that the lifecycle has closed accepts nothing any more. */
  accepts: boolean;
  hasListeners: boolean;
  /** Bytes from here on are locked; none: -1. A has its turn 0 besides as long as its arbiter is open. */
  from: number;
  hasArbiter: boolean;
}

interface World {
  a: Process;
  b: Process;
  /** A's side of the handover, and whether B's has begun. */
  p: PredecessorState;
  s: SuccessorState;
  toA: string[];
  toB: string[];
  isChannelOpen: boolean;
  /** B's app has loaded. */
  hasLoaded: boolean;
  /** Between B's claim and what follows it. */
  isInheriting: boolean;
  /** A: COMMIT has gone, so B may serve; `commit()` has come to its end, and the lifecycle knows. */
  hasStepped: boolean;
  hasCommitted: boolean;
  maySuccessorServe: boolean;
  isSuperseded: boolean;
  hasGivenUp: boolean;
  hasLeft: boolean;
  /** Where A's giving up is: not begun, B to be ended, the arbiter to decide, to be taken back, done. */
  givingUp: '' | 'stop' | 'claim' | 'back' | 'done';
  /** Who signed last. */
  holder: 'a' | 'b' | '';
  kills: number;
  closes: number;
  aborts: number;
  olders: number;
  failures: number;
  /** A's predecessor has taken everything back. */
  isWithdrawn: boolean;
}

type Step = StepOf<World>;

/** A may end or give up before anything is said; what follows this is what the model is for. */
const WAITS: readonly PredecessorState[] = ['starting', 'offered', 'claimed', 'ready'];

/** Looks at every world that can come about. */
export function explore(table: LifeTable, chances: Chances): Explored {
  return exploreFrom(beginning(chances), new Model(table));
}

/** A is in charge, and has started B, which has greeted nobody yet. */
function beginning(chances: Chances): World {
  const process: Process = {
    isAlive: true,
    life: 'loading',
    changes: 0,
    runs: [],
    hasRole: false,
    accepts: false,
    hasListeners: true,
    from: -1,
    hasArbiter: true,
  };
  return {
    a: { ...process, life: 'serving', hasRole: true, accepts: true, from: 0 },
    b: { ...process, runs: [] },
    p: 'starting',
    s: 'greeting',
    toA: [],
    toB: ['HELLO'],
    hasLoaded: false,
    isInheriting: false,
    hasStepped: false,
    hasCommitted: false,
    isChannelOpen: true,
    maySuccessorServe: false,
    isSuperseded: false,
    hasGivenUp: false,
    hasLeft: false,
    givingUp: '',
    holder: 'a',
    isWithdrawn: false,
    ...chances,
  };
}

class Model implements ModelOf<World> {
  readonly #table: LifeTable;

  constructor(table: LifeTable) {
    this.#table = table;
  }

  keyOf({ a, b, ...rest }: World): string {
    const keyOfProcess = ({ changes, runs, ...process }: Process): string => {
      const waiting = runs.map(({ isOvertaken, left, next: follows, of }) => [
        isOvertaken,
        left[0],
        left.length,
        follows,
        of,
      ]);
      return [...Object.values(process), ...waiting].join();
    };
    return [keyOfProcess(a), keyOfProcess(b), ...Object.values(rest)].join('|');
  }

  copyOf(world: World): World {
    const copy = (process: Process): Process => ({ ...process, runs: [...process.runs] });
    return { ...world, a: copy(world.a), b: copy(world.b), toA: [...world.toA], toB: [...world.toB] };
  }

  /** What must never be. */
  wrongIn(w: World, steps: readonly Step[]): string | undefined {
    const { a, b, p } = w;
    const inCharge = [a, b].filter(({ isAlive, hasRole }) => isAlive && hasRole);
    if (inCharge.length > 1) return 'A and B are in charge';
    for (const [name, process] of [['A', a] as const, ['B', b] as const]) {
      if (!process.isAlive) continue;
      if (process.life === 'serving' && !process.hasRole) return `${name} serves, and is not in charge`;
      if (process.life === 'serving' && !process.hasListeners) return `${name} serves without listeners`;
      if (process.life === 'closed' && (process.accepts || process.hasRole)) return `${name} is closed, and serves`;
    }
    const mayRecall = ['committing', 'migrating', 'draining', 'recalling'].includes(p) && w.hasStepped && !w.hasLeft;
    if (a.isAlive && mayRecall && w.givingUp !== 'back' && w.givingUp !== 'done' && !this.#table[a.life].takeBack) {
      return `A may not take back while ${a.life}, before RETIRE`;
    }
    if (steps.some(({ isDue }) => isDue)) return undefined;
    for (const [name, process] of [['A', a] as const, ['B', b] as const]) {
      const isAtRest = process.life === 'serving' || process.life === 'closed' || (name === 'B' && WAITS.includes(p));
      if (process.isAlive && !isAtRest) return `${name} stays ${process.life} for ever`;
    }
    const able = [a, b].filter(({ isAlive, life }) => isAlive && life !== 'closed');
    if (able.length > 0 && inCharge.length === 0 && !w.isWithdrawn) return 'nobody is in charge, and somebody lives';
    return undefined;
  }

  steps(w: World): Step[] {
    const steps: Step[] = [];
    const add = (name: string, isDue: boolean, run: Step['run']): void => void steps.push({ name, isDue, run });
    for (const name of ['a', 'b'] as const) {
      const { isAlive, life, runs } = w[name];
      if (!isAlive) continue;
      runs.forEach((run, i) => {
        if (this.#mayEnd(w, name, run)) {
          add(`${name} has done ${run.left[0]}`, true, (after) => this.#endEffect(after, name, i));
        }
      });
      if (w.closes > 0 && life !== 'closed') {
        add(`${name} close()`, false, (after) => {
          after.closes--;
          this.#close(after, name);
        });
      }
      if (w.kills > 0) {
        add(`${name} is killed`, false, (after) => {
          after.kills--;
          this.#kill(after, name);
        });
      }
      // The program exits when its handover is closed.
      if (life === 'closed' && runs.length === 0) add(`${name} exits`, true, (after) => this.#kill(after, name));
    }
    if (w.a.isAlive) this.#stepsOfA(w, add);
    if (w.b.isAlive) this.#stepsOfB(w, add);
    return steps;
  }

  #stepsOfA(w: World, add: Add): void {
    const { p, a } = w;
    if (w.toA[0] !== undefined) add(`a reads ${w.toA[0]}`, true, (after) => this.#readA(after));
    if (p === 'ready' && a.life === 'serving') {
      add('a commits', false, (after) => {
        after.p = next(PREDECESSOR, after.p, 'commit');
        after.hasStepped = true;
        this.#happen(after, 'a', 'stepDown');
      });
    }
    if (w.aborts > 0 && [...WAITS, 'committing', 'migrating', 'draining'].includes(p) && w.givingUp === '') {
      add('a aborts', false, (after) => {
        after.aborts--;
        this.#abort(after);
      });
    }
    // `commit()` resolves a moment after COMMITTED was read; what has failed since is found by what follows.
    if (w.hasCommitted && !w.isSuperseded && (w.givingUp === '' || w.givingUp === 'stop')) {
      add('a is superseded', true, (after) => this.#supersede(after));
    }
    if (p === 'migrating' && w.isSuperseded) {
      add('a has migrated', true, (after) => {
        after.p = next(PREDECESSOR, after.p, 'migrated');
      });
    }
    if (w.isSuperseded && ((p === 'draining' && w.b.isAlive) || p === 'last')) {
      add('a has drained', true, (after) => {
        after.p = next(PREDECESSOR, after.p, 'drained');
      });
    }
    if (p === 'retired' && w.isSuperseded && w.givingUp === '' && STANDING[a.life].phase === 'draining') {
      // Where it cannot be sent any more, B's last word is read first.
      const isHeard = w.b.isAlive || w.toA.length === 0;
      if (a.life !== 'retired' && isHeard) add('a says RETIRE', true, (after) => this.#retire(after));
    }
    if (w.olders > 0) {
      for (const event of ['alone', 'withdraw'] as const) {
        add(`a hears ${event}`, false, (after) => {
          after.olders--;
          after.isWithdrawn = event === 'withdraw';
          this.#happen(after, 'a', event);
        });
      }
    }
    this.#giveUpSteps(w, add);
  }

  /** What `giveUp` of OutgoingHandover does, one step after the other. */
  #giveUpSteps(w: World, add: Add): void {
    const { givingUp, p } = w;
    if (givingUp === 'stop') {
      add('a ends b', true, (after) => {
        if (after.maySuccessorServe && !after.hasGivenUp) this.#kill(after, 'b');
        after.givingUp = after.hasStepped && !after.hasLeft && p !== 'relieved' ? 'claim' : 'done';
        if (after.givingUp === 'done') this.#givenUp(after);
      });
    }
    const verdict = givingUp === 'claim' ? this.#verdict(w, 'a', 'recall') : 'open';
    if (verdict !== 'open') {
      add(`a claims: ${verdict}`, true, (after) => {
        after.p = next(PREDECESSOR, after.p, verdict);
        if (verdict === 'obtained') {
          after.a.from = after.a.hasArbiter ? 0 : -1;
          after.givingUp = 'back';
          this.#happen(after, 'a', 'takeBack');
        } else {
          after.givingUp = 'done';
          this.#happen(after, 'a', 'relieved');
        }
      });
    }
    if (givingUp === 'back' && !w.a.runs.some(({ of }) => of === 'takeBack')) {
      add('a has taken back', true, (after) => {
        after.givingUp = 'done';
        this.#givenUp(after);
      });
    }
  }

  #stepsOfB(w: World, add: Add): void {
    const { s, b } = w;
    // The end of the channel is looked into: A must be dead, or B gives up.
    if (w.toB[0] !== undefined) add(`b reads ${w.toB[0]}`, true, (after) => this.#readB(after));
    const isLoading = ['loading', 'bereft', 'alone'].includes(s) && b.life === 'loading';
    if (isLoading) {
      add('b is ready', true, (after) => this.#readyB(after));
    }
    const taking = b.runs.findIndex(({ of, isOvertaken }) => of === 'takeCharge' && !isOvertaken);
    // Where nobody else is left it takes charge as well as it can.
    if (w.failures > 0 && s === 'committing' && taking >= 0) {
      add('b fails to take charge', false, (after) => {
        after.failures--;
        after.b.runs.splice(taking, 1);
        this.#happen(after, 'b', 'failed');
        this.#giveUpB(after);
      });
    }
    const verdict = w.isInheriting ? this.#verdict(w, 'b', 'bereft') : 'open';
    if (verdict !== 'open') {
      add(`b claims: ${verdict}`, true, (after) => {
        after.isInheriting = false;
        if (after.s !== 'bereft') return;
        if (verdict === 'refused') this.#giveUpB(after);
        else {
          after.b.from = 0;
          after.s = next(SUCCESSOR, after.s, 'obtained');
          if (after.hasLoaded) this.#takeChargeB(after);
          this.#happen(after, 'b', 'alone');
        }
      });
    }
  }

  #readA(w: World): void {
    const frame = w.toA.shift() as string;
    const was = w.p;
    // Whether a process that ends on purpose is in charge decides what its ABORT means.
    const isLeft = frame === 'LEAVE' && ['migrating', 'draining', 'retired'].includes(was);
    w.p = next(PREDECESSOR, was, (isLeft ? 'LEFT' : frame === 'LEAVE' ? 'ABORT' : frame) as PredecessorEvent);
    const isGivenUp = w.p === 'ended' || w.p === 'recalling';
    if (isLeft) w.hasLeft = true;
    if (isLeft && !isGivenUp) this.#happen(w, 'a', 'letGo');
    if ((frame === 'ABORT' || (frame === 'LEAVE' && !isLeft)) && isGivenUp) w.hasGivenUp = true;
    if (frame === 'COMMITTED' && w.p === 'migrating') w.hasCommitted = true;
    if (was === w.p) return;
    if (w.p === 'offered') this.#tellB(w, 'MANIFEST');
    if (w.p === 'ended' || w.p === 'recalling') this.#failed(w);
  }

  #readB(w: World): void {
    const name = w.toB.shift() as string;
    // Nothing is read of a channel that is closed.
    if (w.s === 'ended' || w.s === 'alone') return;
    const was = w.s;
    w.s = next(SUCCESSOR, was, name as SuccessorEvent);
    if (name === 'HELLO') this.#tellA(w, 'HELLO');
    if (w.s === 'committing') this.#committed(w);
    if (name === 'ABORT') this.#happen(w, 'b', 'withdraw');
    if (w.s === 'ended' && name === 'EOF') this.#happen(w, 'b', 'withdraw');
    if (was !== w.s && w.s === 'bereft') w.isInheriting = true;
    if (was !== w.s && w.s === 'alone') this.#happen(w, 'b', 'alone');
  }

  #readyB(w: World): void {
    w.hasLoaded = true;
    w.b.accepts = true;
    this.#happen(w, 'b', 'ready');
    w.s = next(SUCCESSOR, w.s, 'ready');
    if (w.s === 'alone') this.#takeChargeB(w);
    if (w.s === 'ready') this.#tellA(w, 'CLAIMED', 'READY');
  }

  /** COMMIT came: the arbiter's word, then the lifecycle's. */
  #committed(w: World): void {
    if (!isLockable(w, 'b', firstByteOf('committed', 1, 1))) this.#giveUpB(w);
    else if (!STANDING[w.b.life].isOpen) this.#giveUpB(w);
    else {
      w.b.from = 1;
      this.#takeChargeB(w);
    }
  }

  #takeChargeB(w: World): void {
    if (w.b.life === 'ready') this.#happen(w, 'b', 'takeCharge');
    else if (STANDING[w.b.life].isOpen) throw new Error(`B is to take charge while ${w.b.life}`);
  }

  #giveUpB(w: World): void {
    w.s = next(SUCCESSOR, w.s, 'abort');
    if (w.s !== 'ended') return;
    this.#tellA(w, 'ABORT');
    this.#happen(w, 'b', 'withdraw');
  }

  /** As `Executor.#endBy`. */
  #close(w: World, name: 'a' | 'b'): void {
    const { isOpen, isInCharge } = STANDING[w[name].life];
    this.#happen(w, name, isOpen && !isInCharge && name === 'b' ? 'withdraw' : 'close');
  }

  #abort(w: World): void {
    w.p = next(PREDECESSOR, w.p, 'abort');
    if (w.p === 'ended' || w.p === 'recalling') this.#failed(w);
  }

  #failed(w: World): void {
    this.#tellB(w, 'ABORT');
    // Before it is superseded the upgrade waits for its own step, and finds the failure at once.
    if (w.givingUp === '') w.givingUp = 'stop';
  }

  #supersede(w: World): void {
    w.isSuperseded = true;
    this.#happen(w, 'a', 'superseded');
  }

  #retire(w: World): void {
    if (!w.hasLeft) this.#tellB(w, 'RETIRE');
    if (w.b.isAlive || w.hasLeft) this.#happen(w, 'a', 'retired');
    else w.givingUp = 'stop';
  }

  #givenUp(w: World): void {
    if (w.b.isAlive) this.#kill(w, 'b');
    if (w.isSuperseded && w.p !== 'relieved') this.#happen(w, 'a', 'takenBack');
  }

  /** Whether what is waited for has come about. */
  #mayEnd(w: World, name: 'a' | 'b', { left }: Run): boolean {
    if (left[0] !== 'abortHandover' || name === 'b') return true;
    const isTakingBack = w.a.runs.some(({ of }) => of === 'takeBack');
    return this.#isAttemptOver(w) && !isTakingBack;
  }

  /** `Upgrader.abort` has nothing to wait for. */
  #isAttemptOver({ givingUp, isSuperseded }: World): boolean {
    return givingUp === 'done' || isSuperseded;
  }

  /** An event: the state changes at once, and effects that take no time are done in the same turn. */
  #happen(w: World, name: 'a' | 'b', event: LifeEvent, of: LifeEvent = event): void {
    const process = w[name];
    const transition = this.#table[process.life][event];
    if (!transition) throw new Error(`${event} while ${name.toUpperCase()} is ${process.life}`);
    if (transition.to !== process.life) {
      process.changes++;
      const waitedFor = process.runs.filter((run) => run.of === 'takeBack');
      process.runs = waitedFor.map((run) => ({ ...run, isOvertaken: true }));
    }
    process.life = transition.to;
    this.#run(w, name, { isOvertaken: false, left: transition.effects, next: transition.next, of });
  }

  #run(w: World, name: 'a' | 'b', { isOvertaken, left, next: follows, of }: Run): void {
    const process = w[name];
    const { changes } = process;
    for (const [i, effect] of left.entries()) {
      this.#begin(w, name, effect);
      if (LASTING.has(effect)) {
        process.runs.push({ isOvertaken, left: left.slice(i), next: follows, of });
        return;
      }
      if (process.changes !== changes) return;
    }
    if (of === 'stepDown') this.#stepped(w);
    if (follows) this.#happen(w, name, follows, of);
    if (follows === 'tookCharge') this.#tookCharge(w);
  }

  #endEffect(w: World, name: 'a' | 'b', i: number): void {
    const process = w[name];
    const [run] = process.runs.splice(i, 1) as [Run];
    if (!run.isOvertaken) this.#run(w, name, { ...run, left: run.left.slice(1) });
  }

  #stepped(w: World): void {
    if (w.p !== 'committing') return;
    w.maySuccessorServe = true;
    this.#tellB(w, 'COMMIT');
  }

  #tookCharge(w: World): void {
    w.s = next(SUCCESSOR, w.s, 'committed');
    if (w.s === 'serving') this.#tellA(w, 'COMMITTED');
  }

  /** What makes a difference here happens when an effect begins; some take a while to be over. */
  #begin(w: World, name: 'a' | 'b', effect: Effect): void {
    const process = w[name];
    switch (effect) {
      case 'abortHandover':
        if (name === 'a' && !this.#isAttemptOver(w)) this.#abort(w);
        break;
      case 'accept':
      case 'resume':
        process.accepts = process.hasListeners;
        break;
      case 'suspendAll':
      case 'suspendClaimed':
        process.accepts = false;
        break;
      case 'closeLeavingPaths':
      case 'closeRemovingPaths':
        process.accepts = process.hasListeners = false;
        process.from = -1;
        process.hasArbiter = false;
        break;
      case 'closeArbiter':
        process.from = -1;
        process.hasArbiter = false;
        break;
      case 'takeRole':
      case 'takeRoleAnyhow':
        process.hasRole = true;
        break;
      case 'yieldRole':
      case 'endRole':
      case 'abandonRole':
        process.hasRole = false;
        break;
      case 'sign':
        w.holder = name;
        break;
      case 'leavePredecessor':
        if (name === 'b') this.#leave(w);
        break;
      case 'yieldArbiter':
        process.from = -1;
        break;
      default:
    }
  }

  #leave(w: World): void {
    if (w.s === 'alone' || w.s === 'ended') return;
    w.s = next(SUCCESSOR, w.s, 'abort');
    this.#tellA(w, 'LEAVE', 'EOF');
  }

  #kill(w: World, name: 'a' | 'b'): void {
    const process = w[name];
    if (!process.isAlive) return;
    process.isAlive = process.hasRole = process.accepts = process.hasArbiter = false;
    process.runs = [];
    process.from = -1;
    w[name === 'a' ? 'toA' : 'toB'] = [];
    if (name === 'a') this.#tellB(w, 'EOF');
    else this.#tellA(w, 'EOF');
  }

  #tellA(w: World, ...frames: string[]): void {
    if (w.a.isAlive && w.isChannelOpen) w.toA.push(...frames);
    if (frames.includes('EOF')) w.isChannelOpen = false;
  }

  #tellB(w: World, ...frames: string[]): void {
    if (w.b.isAlive && w.isChannelOpen) w.toB.push(...frames);
    if (frames.includes('EOF')) w.isChannelOpen = false;
  }

  #verdict(w: World, name: 'a' | 'b', right: Right): ReturnType<typeof verdictOf> {
    if (name === 'a' && STANDING[w.a.life].resigns && (w.b.isAlive || w.isWithdrawn)) return 'refused';
    const first = right === 'bereft' ? 0 : 1;
    const excused = right === 'bereft' ? ['a'] : ['a', 'b'];
    return verdictOf(isLockable(w, name, first), w.holder || undefined, excused);
  }
}

type Add = (name: string, isDue: boolean, run: Step['run']) => void;

/** Effects that take time: other things happen before they are done. */
const LASTING: ReadonlySet<Effect> = new Set([
  'abortHandover',
  'accept',
  'collect',
  'drain',
  'endRole',
  'leavePredecessor',
  'obtainArbiter',
  'resume',
  'yieldRole',
]);

/** A has turn 0 for as long as it may take back, B the open end when it has locked it. */
function isLockable(w: World, name: 'a' | 'b', first: number): boolean {
  const other = name === 'a' ? w.b : w.a;
  if (!other.isAlive || !other.hasArbiter) return true;
  if (other.from >= 0) return false;
  // What A keeps while it drains is the byte of its own turn.
  return name === 'a' || first > 0;
}
