// The options of `openHandover` in one table. Their types, names, checks and defaults come from it, and docs/options.md //
// (scripts/options.mjs).
import { typeError } from '../errors.js';
import { expectBoolean, expectInteger, expectOptions, expectString } from '../fd/arguments.js';
import { checkUnclaimed, type Unclaimed } from '../handover/unclaimed.js';
import type { SuccessorCommand } from '../platform/command.js';
import type { Check } from '../platform/preflight.js';
import { checkSystemd, type SystemdOptions } from '../platform/service-manager.js';
import type { TakeoverOptions } from '../platform/takeover.js';
import type { HealthEndpointOptions } from './health-endpoint.js';
import { OLD_OPTIONS, type OldForms, type OldOptions, renewOptions } from './old-spellings.js';

/**
 * Each option: its kind, its default if it has one, its minimum. The comments are those that editors show and that
 * docs/options.md has.
 */
export const HANDOVER_OPTIONS = {
  /** How long a successor may take from its start to `ready()`. @default 60000 */
  readyTimeout: { kind: 'milliseconds', minimum: 1, default: 60_000 },
  drain: {
    /** How long connections may take to end once this process is superseded or closing. @default 30000 */
    timeout: { kind: 'milliseconds', minimum: 0, default: 30_000 },
    /**
     * A busy connection on which no byte moves for this time is cut before `drain.timeout`; 0: never. With it a long
     * `drain.timeout` is used up only by transfers that go on. While the app prepares a response no byte moves either: set
     * it to more than the slowest response takes. @default 0
     */
    idleTimeout: { kind: 'milliseconds', minimum: 0, default: 0 },
    /**
     * WebSockets that do not migrate are closed with code 1012 at random moments of this time, because clients that are
     * closed together would reconnect together. @default half of `drain.timeout`, at most 5000
     */
    spread: { kind: 'milliseconds', minimum: 0 },
  },
  probation: {
    /** How long both processes accept and the successor is watched before it is put in charge; 0: not at all. @default 1000 */
    duration: { kind: 'milliseconds', minimum: 0, default: 1_000 },
    /** How long a successor on probation may be silent; five times as long once it is in charge. @default 2000 */
    stallTimeout: { kind: 'milliseconds', minimum: 200, default: 2_000 },
  },
  /** Runs in a successor before it says that it is ready: fill caches, call hot handlers. */
  warmup: { kind: 'function' },
  health: {
    /**
     * Called in a successor with every heartbeat until its predecessor has ended. `false` or a rejection fails the
     * handover, and the predecessor serves on.
     */
    check: { kind: 'healthCheck' },
    /**
     * `{ port, host }` or `{ path }` of a small server for orchestrators: `/livez`, and `/readyz`, which is 200 only in the
     * process that is in charge and does not drain.
     */
    endpoint: { kind: 'endpoint' },
  },
  /**
   * A Unix socket, or `{ path, allow }`, by which an independently started process takes over. Ignored in a worker of
   * `handover run`.
   */
  takeover: { kind: 'takeover' },
  /**
   * A Unix socket by which the command line reaches this process, in a directory that no other user can write to. Ignored
   * in a worker of `handover run`, which has its own (`--control`).
   */
  control: { kind: 'path' },
  /** Whether live connections migrate to the successor; `false`: they drain in this process. @default true */
  migrate: { kind: 'flag', default: true },
  /** A file to which the process in charge writes its pid. Ignored in a worker of `handover run`. */
  pidFile: { kind: 'path' },
  /** How many older generations may still drain when the next handover begins. @default 2 */
  maxDraining: { kind: 'count', minimum: 1, default: 2 },
  /** Kill the oldest generation instead of refusing the handover. @default false */
  forceOldest: { kind: 'flag', default: false },
  /**
   * `{ command, args, execArgv, cwd, env }`: how the successor is started. Each replaces the value that this process was
   * started with, but `env` is added to the environment of that start. `env` may be a function: it gets a copy of that
   * environment, runs for every handover, and may return a promise. @default {}
   */
  successor: { kind: 'successor', default: {} },
  preflight: {
    /** Checks the new release first: arguments added to its command, which must exit 0, or a function that throws. */
    command: { kind: 'preflight' },
    /** Refuse the handover if the cgroup has less memory left than this process uses. @default true */
    memory: { kind: 'flag', default: true },
  },
  /** Hand over also where the end of this process would end the successor. @default false */
  allowOrphan: { kind: 'flag', default: false },
  /**
   * What systemd is told where NOTIFY_SOCKET is set: ready, reloading, the new main process, stopping, the watchdog.
   * `{ fdstore: true }`: systemd keeps the listeners. `false` leaves all of it to the app, and then a handover that systemd
   * would have to know of is refused. @default {}
   */
  systemd: { kind: 'systemd', default: {} },
  /**
   * What happens to a listener that the predecessor hands over and this process does not claim before `ready()`: its
   * clients would be refused. `'fail'`: the handover fails with ERR_HANDOVER_UNCLAIMED, and the predecessor serves on.
   * `'close'`: the listener is closed, and reported. A list of names: only these may stay unclaimed, and are closed. Does
   * not concern listeners that a supervisor passed along. @default 'fail'
   */
  unclaimed: { kind: 'unclaimed', default: 'fail' },
  /** A file that gets one line of JSON for each handover, when it is over. */
  audit: { kind: 'path' },
  /** `{ directory }`: each process of a handover records its part there, for `handover/timeline`. */
  timeline: { kind: 'timeline' },
} as const;

export interface TimelineOptions {
  /** Each process of a handover writes its part into this directory. It is made if it does not exist. */
  readonly directory: string;
}

/** Type of an option of each kind, as given; `OptionResults` has the types after the check, where they differ. */
export interface OptionKinds {
  readonly milliseconds: number;
  readonly count: number;
  readonly flag: boolean;
  readonly path: string;
  readonly function: () => unknown;
  readonly healthCheck: () => boolean | Promise<boolean>;
  readonly endpoint: HealthEndpointOptions;
  readonly takeover: string | TakeoverOptions;
  readonly successor: SuccessorCommand;
  readonly preflight: Check;
  readonly systemd: SystemdOptions | false;
  readonly unclaimed: Unclaimed;
  readonly timeline: TimelineOptions;
}

interface OptionResults extends OptionKinds {
  readonly takeover: TakeoverOptions;
}

type OptionKind = keyof OptionKinds;

/** Type of the options as given, derived from the table. */
export type GivenOf<T> = {
  readonly [K in keyof T]?:
    | (T[K] extends { readonly kind: infer N extends OptionKind } ? OptionKinds[N] : GivenOf<T[K]>)
    | (K extends keyof OldForms ? OldForms[K] : never);
};

/** Type of the options after the check, derived from the table. */
export type CheckedOf<T> = {
  readonly [K in keyof T]: T[K] extends { readonly kind: infer N extends OptionKind }
    ? OptionResults[N] | (T[K] extends { readonly default: unknown } ? never : undefined)
    : CheckedOf<T[K]>;
};

/** How this process hands over, and how it drains; every option may be left out. */
export interface HandoverOptions extends GivenOf<typeof HANDOVER_OPTIONS>, OldOptions {}

/** The options with their defaults. */
export type CheckedOptions = CheckedOf<typeof HANDOVER_OPTIONS> & { readonly drain: { readonly spread: number } };

/** Names of all options, including old spellings. */
export const HANDOVER_OPTION_NAMES: readonly string[] = Object.keys({ ...HANDOVER_OPTIONS, ...OLD_OPTIONS });

const MAX_SPREAD = 5_000;

/**
 * Checks the options, replaces old spellings, and adds the defaults.
 * @throws TypeError, RangeError naming the option, what was expected, and the value
 */
export function checkHandoverOptions(options: HandoverOptions): CheckedOptions {
  const given = expectOptions('options', options, Object.keys(HANDOVER_OPTIONS), Object.keys(OLD_OPTIONS));
  const checked = checkGroup('options', renewOptions(given), HANDOVER_OPTIONS) as CheckedOf<typeof HANDOVER_OPTIONS>;
  const { drain } = checked;
  const spread = drain.spread ?? Math.min(drain.timeout / 2, MAX_SPREAD) | 0;
  return { ...checked, drain: { ...drain, spread } };
}

interface Entry {
  readonly kind: OptionKind;
  readonly minimum?: number;
  readonly default?: unknown;
}

interface Group {
  readonly [name: string]: Entry | Group;
}

function isEntry(declared: Entry | Group): declared is Entry {
  return typeof declared.kind === 'string';
}

function checkGroup(group: string, given: Readonly<Record<string, unknown>>, table: Group): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(table).map(([key, declared]) => {
      const name = `${group}.${key}`;
      if (isEntry(declared)) return [key, checkEntry(name, given[key], declared)];
      const { [key]: members = {} } = given;
      return [key, checkGroup(name, expectOptions(name, members, Object.keys(declared)), declared)];
    }),
  );
}

function checkEntry(name: string, given: unknown, { kind, minimum = 0, default: byDefault }: Entry): unknown {
  const value = given === undefined ? byDefault : given;
  return value === undefined ? undefined : CHECKS[kind](name, value, minimum);
}

type CheckValue<T> = (name: string, value: unknown, minimum: number) => T;

const CHECKS: { readonly [K in OptionKind]: CheckValue<OptionResults[K]> } = {
  milliseconds: expectInteger,
  count: expectInteger,
  flag: expectBoolean,
  path: expectString,
  function: expectFunction,
  healthCheck: (name, value) => expectFunction(name, value) as OptionKinds['healthCheck'],
  endpoint: checkEndpoint,
  takeover: checkTakeover,
  successor: checkSuccessor,
  preflight: checkPreflight,
  systemd: (_, value) => checkSystemd(value),
  unclaimed: (_, value) => checkUnclaimed(value),
  timeline: checkTimeline,
};

function expectFunction(name: string, value: unknown): () => unknown {
  if (typeof value !== 'function') throw typeError(name, 'a function', value);
  return value as () => unknown;
}

function checkTakeover(name: string, takeover: unknown): TakeoverOptions {
  if (typeof takeover === 'string') return { path: expectString(name, takeover) };
  const { path, allow } = expectOptions(name, takeover, ['path', 'allow']);
  expectString(`${name}.path`, path);
  if (allow !== undefined) expectFunction(`${name}.allow`, allow);
  return takeover as TakeoverOptions;
}

function checkEndpoint(name: string, endpoint: unknown): HealthEndpointOptions {
  const { port, host, path } = expectOptions(name, endpoint, ['port', 'host', 'path']);
  if ((port === undefined) === (path === undefined)) throw typeError(name, 'given with one of port, path', endpoint);
  if (path !== undefined && host !== undefined) throw typeError(`${name}.host`, 'absent where there is a path', host);
  if (port !== undefined) expectInteger(`${name}.port`, port, 0, 65_535);
  if (host !== undefined) expectString(`${name}.host`, host);
  if (path !== undefined) expectString(`${name}.path`, path);
  return endpoint as HealthEndpointOptions;
}

function checkSuccessor(name: string, successor: unknown): SuccessorCommand {
  const given = expectOptions(name, successor, ['command', 'args', 'cwd', 'env', 'execArgv']);
  for (const key of ['command', 'cwd']) if (given[key] !== undefined) expectString(`${name}.${key}`, given[key]);
  for (const key of ['args', 'execArgv']) expectStrings(`${name}.${key}`, given[key] ?? []);
  const { env } = given;
  if (env !== undefined && typeof env !== 'function' && (typeof env !== 'object' || env === null)) {
    throw typeError(`${name}.env`, 'an object, or a function that returns one', env);
  }
  return successor as SuccessorCommand;
}

function checkPreflight(name: string, command: unknown): Check {
  if (typeof command !== 'function') expectStrings(name, command);
  return command as Check;
}

function expectStrings(name: string, value: unknown): void {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return;
  throw typeError(name, 'a list of strings', value);
}

function checkTimeline(name: string, timeline: unknown): TimelineOptions {
  const { directory } = expectOptions(name, timeline, ['directory']);
  return { directory: expectString(`${name}.directory`, directory) };
}
