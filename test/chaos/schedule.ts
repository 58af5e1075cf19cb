// Schedules as data: what a seed makes of a mode, as lines of text that can be cut by hand and played again.
import { generator } from '../helpers/random.js';

export const MODES = ['self', 'standby', 'takeover', 'chain', 'run', 'roll'] as const;
export type Mode = (typeof MODES)[number];

/** Whom a signal is for. Of several the oldest first; `#2` is the third of them. */
export const ROLES = ['in-charge', 'draining', 'candidate', 'supervisor'] as const;
export type Role = (typeof ROLES)[number];

/**
 * What is wrong with the next release: it exits or throws while it loads, is ready too late, is not well on probation, or
 * falls ill once it is in charge (which its predecessor recalls); `slow` loads for 1.5 s.
 */
export const RELEASES = ['good', 'slow', 'exit', 'throw', 'hang', 'unhealthy', 'sickly'] as const;
export type ReleaseKind = (typeof RELEASES)[number];

/** What of a process a schedule can wait for: a phase or a frame of a handover, or a line of the server. */
export const MOMENTS = [
  'start',
  'PREPARE',
  'PROBATION',
  'COMMIT',
  'MIGRATE',
  'OFFER',
  'HELD',
  'GO',
  'DRAIN',
  'RETIRE',
  'in-charge',
  'superseded',
  'prepared',
  'failed',
  'drained',
] as const;

export type Step =
  /** Asks the one in charge, or by its control socket the supervisor. */
  | { readonly do: 'upgrade' }
  /** SIGHUP to the supervisor. */
  | { readonly do: 'roll' }
  | { readonly do: 'prepare' | 'commit' | 'discard' | 'resume' | 'rollback' }
  /** A process of its own, which takes over. */
  | { readonly do: 'start' }
  | { readonly do: 'kill' | 'term' | 'stop'; readonly role: Role; readonly nth: number; readonly ms?: number }
  | { readonly do: 'scale'; readonly by: 1 | -1 }
  | { readonly do: 'release'; readonly kind: ReleaseKind }
  | { readonly do: 'until'; readonly moment: string }
  | { readonly do: 'wait'; readonly ms: number }
  /** Until nothing is under way any more; then all is looked at. */
  | { readonly do: 'quiet' };

export interface Schedule {
  readonly mode: Mode;
  readonly seed: number;
  /** Of `handover run`. */
  readonly workers: number;
  readonly steps: readonly Step[];
}

type Random = () => number;

class Dice {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  upTo(most: number): number {
    return Math.floor(this.random() * (most + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)] as T;
  }

  chance(share: number): boolean {
    return this.random() < share;
  }
}

const wait = (dice: Dice, most: number): Step => ({ do: 'wait', ms: dice.upTo(most) });
const until = (moment: string): Step => ({ do: 'until', moment });
const release = (kind: ReleaseKind): Step => ({ do: 'release', kind });
const hit = (what: 'kill' | 'term' | 'stop', role: Role, nth = 0, ms?: number): Step => ({
  do: what,
  role,
  nth,
  ...(ms !== undefined && { ms }),
});
const QUIET: Step = { do: 'quiet' };

/** Long enough to be counted as a hang (five times probationStall), or not. */
function stopFor(dice: Dice): number {
  return dice.chance(0.25) ? 9_000 : 100 + dice.upTo(1_200);
}

/** The handover of this mode, up to a moment of it. */
function handover(dice: Dice, mode: Mode): Step[] {
  const bad = dice.chance(0.2) ? [release(dice.pick(RELEASES))] : [];
  if (mode === 'takeover') return [...bad, { do: 'start' }];
  if (mode === 'standby' && dice.chance(0.8)) {
    return [
      ...bad,
      { do: 'prepare' },
      until('prepared'),
      wait(dice, 300),
      { do: dice.pick(['commit', 'commit', 'discard']) },
    ];
  }
  if (mode === 'run' || mode === 'roll') return [...bad, { do: dice.pick(['roll', 'roll', 'upgrade']) }];
  return [...bad, { do: 'upgrade' }];
}

function moment(dice: Dice): Step[] {
  if (dice.chance(0.3)) return [wait(dice, 1_500)];
  const name = dice.pick([
    'start',
    'PROBATION',
    'COMMIT',
    'MIGRATE',
    'OFFER',
    'HELD',
    'GO',
    'DRAIN',
    'DRAIN',
    'superseded',
  ]);
  return [until(name), wait(dice, dice.pick([0, 40, 400, 1_200]))];
}

/** Something that happens to a process. */
function blow(dice: Dice, roles: readonly Role[]): Step {
  const role = dice.pick(roles);
  const what = dice.pick(['kill', 'kill', 'kill', 'stop', 'stop', 'term'] as const);
  // Told to end, the one in charge has no heir: that is the end of the world, not a fault.
  if (what === 'term' && role === 'in-charge') return hit('kill', role, dice.upTo(2));
  return what === 'stop' ? hit('stop', role, dice.upTo(2), stopFor(dice)) : hit(what, role, dice.upTo(2));
}

/** One handover and one blow, at every moment of it. */
function single(dice: Dice, mode: Mode): Step[] {
  return [...handover(dice, mode), ...moment(dice), blow(dice, ['in-charge', 'draining', 'candidate']), QUIET];
}

/** Stopped while connections are on their way to it or from it, and killed before it goes on. */
function stunned(dice: Dice, mode: Mode): Step[] {
  const role = dice.pick(['in-charge', 'in-charge', 'in-charge', 'candidate', 'draining'] as const);
  return [
    ...handover(dice, mode),
    until(dice.pick(['COMMIT', 'in-charge', 'in-charge', 'MIGRATE', 'OFFER', 'HELD', 'GO'])),
    hit('stop', role, 0, 1_500),
    wait(dice, 1_000),
    hit('kill', role),
    QUIET,
  ];
}

/** Everybody is told to end, at some moment of a handover: what was begun is answered, then nobody is left. */
function farewell(dice: Dice, mode: Mode): Step[] {
  return [...handover(dice, mode), ...moment(dice), hit('term', 'in-charge'), QUIET];
}

/** Handovers on top of each other: three generations are alive when the blows fall. */
function stacked(dice: Dice, mode: Mode): Step[] {
  return [
    ...handover(dice, mode),
    until('DRAIN'),
    wait(dice, 300),
    ...handover(dice, mode),
    ...(dice.chance(0.5) ? [until('PROBATION'), wait(dice, 250)] : moment(dice)),
    blow(dice, ['in-charge', 'in-charge', 'draining', 'candidate']),
    ...(dice.chance(0.4) ? [wait(dice, 300), blow(dice, ['in-charge', 'draining', 'candidate'])] : []),
    QUIET,
  ];
}

/** Asked again while it goes on, and killed. */
function hasty(dice: Dice, mode: Mode): Step[] {
  const asks = Array.from({ length: 2 + dice.upTo(1) }, () => [...handover(dice, mode), wait(dice, 700)]).flat();
  return [...asks, blow(dice, ['in-charge', 'draining', 'candidate']), ...asks.slice(0, 1), QUIET];
}

/** A worker dies, and while the next is started the workers are replaced, or scaled, or it dies again. */
function crash(dice: Dice, mode: Mode): Step[] {
  const after = dice.pick<readonly Step[]>([
    [{ do: 'roll' }],
    [{ do: 'roll' }],
    [{ do: 'upgrade' }],
    [hit('kill', 'candidate'), { do: 'roll' }],
    [{ do: 'scale', by: 1 }, { do: 'roll' }],
    [{ do: 'scale', by: -1 }],
  ]);
  return [
    ...(dice.chance(0.3) ? [release('slow')] : []),
    hit(dice.chance(0.8) ? 'kill' : 'term', 'in-charge', dice.upTo(2)),
    wait(dice, dice.pick([150, 150, 500, 2_000])),
    ...after,
    ...(dice.chance(0.4) ? [wait(dice, 500), ...handover(dice, mode)] : []),
    QUIET,
  ];
}

/** A roll that pauses, and what an operator does then. */
function paused(dice: Dice): Step[] {
  return [
    release(dice.pick(['exit', 'throw', 'unhealthy', 'sickly'])),
    { do: 'roll' },
    wait(dice, 2_500),
    ...(dice.chance(0.5) ? [hit('kill', 'in-charge', dice.upTo(2))] : []),
    release('good'),
    wait(dice, 500),
    { do: dice.pick(['resume', 'rollback', 'roll']) },
    ...(dice.chance(0.4) ? [wait(dice, 700), blow(dice, ['in-charge', 'candidate'])] : []),
    QUIET,
  ];
}

function scaled(dice: Dice, mode: Mode): Step[] {
  return [
    { do: 'scale', by: 1 },
    wait(dice, 800),
    ...handover(dice, mode),
    wait(dice, 800),
    { do: 'scale', by: -1 },
    ...(dice.chance(0.6) ? [wait(dice, 500), blow(dice, ['in-charge', 'candidate', 'draining', 'supervisor'])] : []),
    QUIET,
  ];
}

function scenesOf(dice: Dice, mode: Mode): Step[] {
  const scenes: Record<Mode, readonly ((dice: Dice, mode: Mode) => Step[])[]> = {
    self: [single, stunned, hasty, farewell],
    standby: [single, stunned, stacked, farewell],
    takeover: [single, stunned, hasty, stacked, farewell],
    chain: [stacked, stacked, stunned, hasty, farewell],
    run: [crash, crash, single, stunned, scaled],
    roll: [paused, stacked, crash, hasty],
  };
  const steps = dice.pick(scenes[mode])(dice, mode);
  if (mode !== 'run' && mode !== 'roll') return steps;
  // A worker that dies is started again, as long as the release is bad in vain.
  return steps.flatMap((step) => (step.do === 'quiet' ? [release('good'), step] : [step]));
}

const SCENES = 3;

/** The same again for the same seed. */
export function scheduleOf(mode: Mode, seed: number): Schedule {
  // Modes of one seed have nothing in common.
  const dice = new Dice(generator(seed * MODES.length + MODES.indexOf(mode)));
  const workers = dice.pick(mode === 'run' ? [1, 1, 2, 3] : [1, 2, 2]);
  const scenes = Array.from({ length: SCENES }, () => [...scenesOf(dice, mode), release('good')]);
  return { mode, seed, workers, steps: scenes.flat() };
}

/** One line a step. */
export function stepText(step: Step): string {
  switch (step.do) {
    case 'kill':
    case 'term':
    case 'stop': {
      const who = step.nth === 0 ? step.role : `${step.role}#${step.nth}`;
      return `${step.do} ${who}${step.ms === undefined ? '' : ` ${step.ms}`}`;
    }
    case 'scale':
      return `scale ${step.by > 0 ? '+1' : '-1'}`;
    case 'release':
      return `release ${step.kind}`;
    case 'until':
      return `until ${step.moment}`;
    case 'wait':
      return `wait ${step.ms}`;
    default:
      return step.do;
  }
}

export function formatSchedule({ mode, seed, workers, steps }: Schedule): string {
  return [`mode ${mode} seed ${seed} workers ${workers}`, ...steps.map(stepText)].join('\n');
}

/** As `formatSchedule` writes it; empty lines and those that begin with # are left out. @throws Error naming the line */
export function parseSchedule(text: string): Schedule {
  const [head = '', ...lines] = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const [, mode, seed = '0', workers = '1'] = /^mode (\w+)(?: seed (\d+))?(?: workers (\d+))?$/.exec(head) ?? [];
  if (!isOneOf(MODES, mode)) throw new Error(`a schedule begins with "mode ${MODES.join('|')} …", not ${head}`);
  return { mode, seed: Number(seed), workers: Number(workers), steps: lines.map(parseStep) };
}

function parseStep(line: string): Step {
  const [what = '', argument = '', ms] = line.split(/\s+/);
  const [role, nth = '0'] = argument.split('#');
  if ((what === 'kill' || what === 'term' || what === 'stop') && isOneOf(ROLES, role)) {
    if (what === 'stop' && ms === undefined) throw new Error(`no milliseconds in: ${line}`);
    return hit(what, role, Number(nth), ms === undefined ? undefined : Number(ms));
  }
  if (what === 'scale' && /^[+-]1$/.test(argument)) return { do: 'scale', by: argument === '+1' ? 1 : -1 };
  if (what === 'release' && isOneOf(RELEASES, argument)) return release(argument);
  if (what === 'until' && isOneOf(MOMENTS, argument)) return until(argument);
  if (what === 'wait' && /^\d+$/.test(argument)) return { do: 'wait', ms: Number(argument) };
  if (isOneOf(PLAIN, what) && argument === '') return { do: what };
  throw new Error(`no step of a schedule: ${line}`);
}

const PLAIN = ['upgrade', 'roll', 'prepare', 'commit', 'discard', 'resume', 'rollback', 'start', 'quiet'] as const;

function isOneOf<T extends string>(list: readonly T[], name: string | undefined): name is T {
  return list.some((entry) => entry === name);
}
