// All that can happen to up to four processes and what joins them: every frame, every decision, deaths and stops in every
// place, in every order. The decisions are the library's own (the tables of machine.ts, firstByteOf and verdictOf of
// arbiter.ts); what is modelled are the channels, the kernel's locks, and the processes.
import { firstByteOf, type Right, verdictOf } from '../../lib/handover/arbiter.js';
import {
  PREDECESSOR,
  type PredecessorEvent,
  type PredecessorState,
  SUCCESSOR,
  type SuccessorEvent,
  type SuccessorState,
} from '../../lib/handover/machine.js';
import {
  type Explored,
  explore as exploreFrom,
  type Model as ModelOf,
  next,
  type Step as StepOf,
} from '../helpers/worlds.js';

/** What the model leaves to chance, and how often. */
export interface Rules {
  readonly processes: number;
  readonly kills: number;
  readonly stops: number;
  /** Handovers given up before COMMIT. */
  readonly aborts: number;
  /** Starts a process where the one in charge has died, and ends it where another is in charge. */
  readonly isSupervised: boolean;
  /** Its locks end in the moment its channels do: a fifth of the worlds. */
  readonly diesAtOnce?: boolean;
  /** How the arbiter is broken, to see that the model finds it. */
  readonly without?: 'arbiter' | 'patience';
}

const OPEN_END = 99;

interface Process {
  life: 'unborn' | 'runs' | 'stopped' | 'dying' | 'dead';
  /** Whose successor it is; -1: nobody's. */
  pred: number;
  succ: number;
  /** Its side of the handover to it; `fresh`: there is none. */
  s: SuccessorState | 'fresh';
  /** Its side of the handover from it. */
  p: PredecessorState | 'none';
  hasLoaded: boolean;
  /** COMMIT has come, COMMITTED has not been said. */
  isCommitting: boolean;
  isInCharge: boolean;
  /** It will never be in charge again: retired, relieved, given up. */
  isOut: boolean;
  /** Who had been in charge when it was refused; -1: it was not. */
  gaveUpTo: number;
  /** Bytes [from, to) are locked; none where they are equal. */
  from: number;
  to: number;
  turn: number;
  offered: number;
  claim: Right | '';
  /** What it has not read yet. */
  fromPred: string[];
  fromSucc: string[];
}

interface World {
  all: Process[];
  /** What the file says. */
  holder: number;
  next: number;
  kills: number;
  stops: number;
  aborts: number;
}

/** One thing that can happen. */
type Step = StepOf<World>;

const NAMES = 'ABCD';

function born(pred: number): Process {
  return {
    life: 'runs',
    pred,
    succ: -1,
    s: pred < 0 ? 'fresh' : 'greeting',
    p: 'none',
    hasLoaded: false,
    isCommitting: false,
    isInCharge: false,
    isOut: false,
    gaveUpTo: -1,
    from: 0,
    to: 0,
    turn: 0,
    offered: 0,
    claim: '',
    fromPred: [],
    fromSucc: [],
  };
}

/** Looks at every world that can come about, after the steps of `begun`. */
export function explore(rules: Rules, begun: readonly string[] = []): Explored {
  const first: World = {
    all: Array.from({ length: rules.processes }, (_, i) => ({ ...born(-1), life: i === 0 ? 'runs' : 'unborn' })),
    holder: -1,
    next: 1,
    kills: rules.kills,
    stops: rules.stops,
    aborts: rules.aborts,
  };
  const model = new Model(rules);
  for (const name of begun) {
    const step = model.steps(first).find((possible) => possible.name === name);
    if (!step) throw new Error(`"${name}" cannot happen then`);
    step.run(first);
  }
  return exploreFrom(first, model);
}

class Model implements ModelOf<World> {
  readonly #rules: Rules;

  constructor(rules: Rules) {
    this.#rules = rules;
  }

  keyOf({ all, ...rest }: World): string {
    return [...Object.values(rest), ...all.map((process) => Object.values(process).join())].join('|');
  }

  copyOf(world: World): World {
    const all = world.all.map((process) => ({
      ...process,
      fromPred: [...process.fromPred],
      fromSucc: [...process.fromSucc],
    }));
    return { ...world, all };
  }

  /** What must never be: two in charge; or nobody, for good, while somebody is alive that may serve. */
  wrongIn(world: World, steps: readonly Step[]): string | undefined {
    const living = world.all.filter(isAlive);
    const inCharge = living.filter(({ isInCharge }) => isInCharge);
    const name = (process: Process): string => NAMES[world.all.indexOf(process)] ?? '?';
    if (inCharge.length > 1) return `${inCharge.map(name).join(' and ')} are in charge`;
    const isSettled = inCharge.length === 0 && !steps.some(({ isDue }) => isDue);
    // Also who gave up for nobody: the one that died is still the last that was in charge.
    const able = world.all.filter((process) => {
      const isInVain = process.gaveUpTo >= 0 && process.gaveUpTo === world.holder && process.pred === world.holder;
      return isInVain || (isAlive(process) && !process.isOut);
    });
    if (isSettled && able.length > 0) return `nobody is in charge, and ${able.map(name).join(' and ')} could be`;
    return undefined;
  }

  steps(world: World): Step[] {
    return [...world.all.flatMap((process, i) => this.#stepsOf(world, process, i)), ...this.#supervise(world)];
  }

  #stepsOf(world: World, process: Process, i: number): Step[] {
    const steps: Step[] = [];
    const add = (what: string, isDue: boolean, run: Step['run']): void => {
      steps.push({ name: `${NAMES[i]} ${what}`, isDue, run });
    };
    const { life } = process;
    if (life === 'unborn' || life === 'dead') return steps;
    // Its descriptors are closed one after another: the channels first, here, and the locks last.
    if (life === 'dying') {
      add('is dead', true, (w) => this.#bury(w, i));
      return steps;
    }
    if (world.kills > 0) {
      add('is killed', false, (w) => {
        w.kills--;
        this.#kill(w, i);
      });
    }
    if (life === 'stopped') {
      add('goes on', true, (w) => {
        at(w, i).life = 'runs';
      });
      return steps;
    }
    if (world.stops > 0) {
      add('is stopped', false, (w) => {
        w.stops--;
        at(w, i).life = 'stopped';
      });
    }
    this.#readSteps(world, process, i, add);
    this.#ownSteps(world, process, i, add);
    return steps;
  }

  #readSteps(world: World, process: Process, i: number, add: Add): void {
    const { fromPred, fromSucc, pred } = process;
    const [down] = fromPred;
    // The end of a channel is looked into: who is at its other end must be dead (hasDied).
    const isReadable = down !== 'EOF' || pred < 0 || world.all[pred]?.life === 'dead' || process.s === 'alone';
    if (down !== undefined && isReadable) add(`reads ${down}`, true, (w) => this.#readFromPredecessor(w, i));
    if (fromSucc[0] !== undefined) add(`reads ${fromSucc[0]}`, true, (w) => this.#readFromSuccessor(w, i));
  }

  #ownSteps(world: World, process: Process, i: number, add: Add): void {
    const { s, p, succ, claim, isOut } = process;
    if (!process.hasLoaded && ['fresh', 'loading', 'bereft', 'alone'].includes(s) && !isOut) {
      add('is ready', true, (w) => this.#ready(w, i));
    }
    if (process.isCommitting) add('takes charge', true, (w) => this.#committed(w, i));
    if (claim !== '' && this.#verdict(world, i, claim) !== 'open' && this.#mayClaim(world, process)) {
      add(`claims (${claim})`, true, (w) => this.#claim(w, i, claim));
    }
    const unborn = world.all.findIndex(({ life }) => life === 'unborn');
    if (process.isInCharge && succ < 0 && unborn > 0)
      add(`starts ${NAMES[unborn]}`, false, (w) => this.#start(w, i, unborn));
    const young = world.all[succ];
    if (p === 'ready') add('commits', false, (w) => this.#commit(w, i));
    if (world.aborts > 0 && ['starting', 'offered', 'claimed', 'ready'].includes(p)) {
      add('gives up', false, (w) => {
        w.aborts--;
        this.#abort(w, i);
      });
    }
    if (young?.life === 'stopped' && ['committing', 'migrating', 'draining'].includes(p)) {
      add('takes the other for hung', false, (w) => this.#abort(w, i));
    }
    const isLast = s !== 'serving' && s !== 'committing';
    // It has seen a heartbeat; the successor may die before it has read the last word, or before that is said.
    if (p === 'draining' && isLast && young?.life === 'runs') {
      add('is to retire', false, (w) => {
        at(w, i).p = next(PREDECESSOR, p, 'drained');
      });
    }
    if (p === 'retired' && claim === '' && !isOut) add('says RETIRE', true, (w) => this.#retire(w, i));
    if (p === 'retired' && isOut) add('ends', true, (w) => this.#exit(w, i));
    if (p === 'last' || p === 'relieved') add('has drained', false, (w) => this.#exit(w, i));
  }

  /** The supervisor never dies here: with it all its workers end. */
  #supervise(world: World): Step[] {
    if (!this.#rules.isSupervised) return [];
    const steps: Step[] = [];
    const unborn = world.all.findIndex(({ life }) => life === 'unborn');
    const inCharge = world.all.findIndex((process) => isAlive(process) && process.isInCharge);
    const spare = world.all.findIndex(isSpare);
    const isVacant = world.holder >= 0 && inCharge < 0 && !isAlive(at(world, world.holder));
    if (isVacant && spare < 0 && unborn > 0) {
      steps.push({
        name: `the supervisor starts ${NAMES[unborn]}`,
        isDue: true,
        run: (w) => {
          w.all[unborn] = born(-1);
        },
      });
    }
    if (spare >= 0 && inCharge >= 0 && world.holder >= 0) {
      steps.push({ name: `the supervisor ends ${NAMES[spare]}`, isDue: true, run: (w) => this.#kill(w, spare) });
    }
    return steps;
  }

  #readFromPredecessor(w: World, i: number): void {
    const process = at(w, i);
    const [name = '', turn = ''] = (process.fromPred.shift() ?? '').split(' ');
    if (process.s === 'fresh') throw new Error(`${name} to a process without a predecessor`);
    const was = process.s;
    process.s = next(SUCCESSOR, was, name as SuccessorEvent);
    if (name === 'HELLO') this.#toPred(w, i, 'HELLO');
    if (name === 'MANIFEST') process.turn = process.offered = Number(turn);
    if (process.s === was) return;
    if (process.s === 'committing') {
      if (this.#tryLock(w, i, firstByteOf('committed', process.turn, process.offered))) process.isCommitting = true;
      else this.#giveUp(w, i);
    }
    if (process.s === 'bereft') process.claim = 'bereft';
    if (process.s === 'ended') this.#exit(w, i);
  }

  #readFromSuccessor(w: World, i: number): void {
    const process = at(w, i);
    const name = process.fromSucc.shift() as PredecessorEvent;
    if (process.p === 'none') return;
    const was = process.p;
    process.p = next(PREDECESSOR, was, name);
    if (process.p === was) return;
    if (process.p === 'offered') {
      process.offered = w.next++;
      this.#toSucc(w, i, `MANIFEST ${process.offered}`);
    }
    if (process.p === 'migrating') process.p = next(PREDECESSOR, process.p, 'migrated');
    if (process.p === 'last') this.#letGo(w, i);
    if (process.p === 'ended') this.#drop(w, i);
    if (process.p === 'recalling') this.#recall(w, i);
  }

  #ready(w: World, i: number): void {
    const process = at(w, i);
    process.hasLoaded = true;
    if (process.s === 'fresh') {
      process.claim = 'bereft';
      return;
    }
    process.s = next(SUCCESSOR, process.s, 'ready');
    if (process.s === 'alone') this.#takeCharge(w, i);
    if (process.s === 'ready') for (const name of ['CLAIMED', 'READY']) this.#toPred(w, i, name);
  }

  #committed(w: World, i: number): void {
    const process = at(w, i);
    process.isCommitting = false;
    if (process.s === 'fresh') throw new Error('committed without a predecessor');
    process.s = next(SUCCESSOR, process.s, 'committed');
    this.#takeCharge(w, i);
    if (process.s === 'serving') this.#toPred(w, i, 'COMMITTED');
  }

  #commit(w: World, i: number): void {
    const process = at(w, i);
    process.p = next(PREDECESSOR, process.p as PredecessorState, 'commit');
    process.isInCharge = false;
    process.to = process.offered;
    this.#toSucc(w, i, 'COMMIT');
  }

  #abort(w: World, i: number): void {
    const process = at(w, i);
    process.p = next(PREDECESSOR, process.p as PredecessorState, 'abort');
    this.#toSucc(w, i, 'ABORT');
    if (process.p === 'ended') this.#drop(w, i);
    else this.#recall(w, i);
  }

  #retire(w: World, i: number): void {
    const process = at(w, i);
    const young = w.all[process.succ];
    if (young?.life === 'runs' || young?.life === 'stopped') {
      this.#toSucc(w, i, 'RETIRE');
      process.isOut = true;
    } else this.#recall(w, i);
  }

  /** The successor is ended first, if it lives and has not given up. */
  #recall(w: World, i: number): void {
    const process = at(w, i);
    const young = w.all[process.succ];
    if (young && isAlive(young) && young.life !== 'dying' && !young.isOut) this.#kill(w, process.succ);
    process.claim = 'recall';
  }

  #mayClaim(world: World, { claim, succ }: Process): boolean {
    if (claim !== 'recall') return true;
    const young = world.all[succ];
    return young === undefined || young.life === 'dead' || young.isOut;
  }

  #verdict(world: World, i: number, right: Right): ReturnType<typeof verdictOf> {
    const { turn, offered, pred, succ, s } = at(world, i);
    const { without } = this.#rules;
    if (without === 'arbiter') return 'obtained';
    const isFree = isLockable(world, i, firstByteOf(right, turn, offered));
    if (without === 'patience' && !isFree) return 'refused';
    const excused = s === 'fresh' && right === 'bereft' ? undefined : right === 'bereft' ? [pred] : [i, succ];
    return verdictOf(isFree, world.holder < 0 ? undefined : String(world.holder), excused?.map(String));
  }

  #claim(w: World, i: number, right: Right): void {
    const process = at(w, i);
    const verdict = this.#verdict(w, i, right);
    process.claim = '';
    if (verdict === 'refused') process.gaveUpTo = w.holder;
    if (verdict === 'obtained') this.#tryLock(w, i, firstByteOf(right, process.turn, process.offered));
    if (right === 'recall') {
      process.p = next(PREDECESSOR, process.p as PredecessorState, verdict === 'obtained' ? 'obtained' : 'refused');
      if (verdict === 'obtained') {
        this.#drop(w, i);
        this.#takeCharge(w, i);
      } else this.#letGo(w, i);
    } else if (verdict === 'obtained') {
      if (process.s !== 'fresh') process.s = next(SUCCESSOR, process.s, 'obtained');
      if (process.hasLoaded) this.#takeCharge(w, i);
    } else this.#giveUp(w, i);
  }

  #takeCharge(w: World, i: number): void {
    at(w, i).isInCharge = true;
    w.holder = i;
  }

  #start(w: World, i: number, unborn: number): void {
    w.all[unborn] = born(i);
    const process = at(w, i);
    process.succ = unborn;
    process.p = 'starting';
    this.#toSucc(w, i, 'HELLO');
  }

  #giveUp(w: World, i: number): void {
    const process = at(w, i);
    if (process.s !== 'fresh') process.s = next(SUCCESSOR, process.s, 'abort');
    this.#toPred(w, i, 'ABORT');
    this.#exit(w, i);
  }

  /** The handover is over, and this process serves on. */
  #drop(w: World, i: number): void {
    const process = at(w, i);
    const young = w.all[process.succ];
    if (young && isAlive(young) && young.life !== 'dying') this.#kill(w, process.succ);
    process.succ = -1;
    process.p = 'none';
    process.fromSucc = [];
  }

  /** It drains to its end, and nobody is to wait for it. */
  #letGo(w: World, i: number): void {
    const process = at(w, i);
    process.isOut = true;
    process.from = process.to = 0;
    this.#leave(w, i);
  }

  /** The older one does not take anything back. */
  #leave(w: World, i: number): void {
    const process = at(w, i);
    if (process.s === 'serving' || process.s === 'committing') {
      process.s = next(SUCCESSOR, process.s, 'abort');
      this.#toPred(w, i, process.isCommitting ? 'ABORT' : 'LEFT');
    }
  }

  #exit(w: World, i: number): void {
    this.#letGo(w, i);
    at(w, i).isInCharge = false;
    this.#kill(w, i);
    this.#bury(w, i);
  }

  #kill(w: World, i: number): void {
    const process = at(w, i);
    process.life = 'dying';
    this.#toPred(w, i, 'EOF');
    this.#toSucc(w, i, 'EOF');
    if (this.#rules.diesAtOnce) this.#bury(w, i);
  }

  /** What it was makes no difference any more. */
  #bury(w: World, i: number): void {
    const { pred, isOut, gaveUpTo } = at(w, i);
    w.all[i] = { ...born(pred), life: 'dead', isOut, gaveUpTo };
  }

  #toPred(w: World, i: number, frame: string): void {
    const old = w.all[at(w, i).pred];
    if (old && isAlive(old) && old.life !== 'dying' && old.succ === i) old.fromSucc.push(frame);
  }

  #toSucc(w: World, i: number, frame: string): void {
    const young = w.all[at(w, i).succ];
    if (young && isAlive(young) && young.life !== 'dying' && young.pred === i) young.fromPred.push(frame);
  }

  #tryLock(w: World, i: number, first: number): boolean {
    if (this.#rules.without === 'arbiter') return true;
    if (!isLockable(w, i, first)) return false;
    const process = at(w, i);
    process.from = process.from === process.to ? first : Math.min(process.from, first);
    process.to = OPEN_END;
    return true;
  }
}

type Add = (what: string, isDue: boolean, run: Step['run']) => void;

function isAlive({ life }: Process): boolean {
  return life === 'runs' || life === 'stopped' || life === 'dying';
}

/** Started alone, and not in charge yet: a worker that has handed over is none. */
function isSpare({ life, s, isInCharge, p }: Process): boolean {
  return (life === 'runs' || life === 'stopped') && s === 'fresh' && !isInCharge && p === 'none';
}

function at(w: World, i: number): Process {
  return w.all[i] as Process;
}

/** Whether no other process has a byte from `first` on. */
function isLockable(w: World, i: number, first: number): boolean {
  return w.all.every(({ from, to }, other) => other === i || from === to || to <= first);
}
