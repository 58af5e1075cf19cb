// The options of `openHandover` and its methods, checked before any side effect: unknown ones are refused.

import { ADDRESS_OPTIONS } from '../endpoints/kinds.js';
import { typeError } from '../errors.js';
import { expectBoolean, expectInteger, expectOptions, expectString } from '../fd/arguments.js';
import { checkUnclaimed, type Unclaimed } from '../handover/unclaimed.js';
import type { SuccessorCommand } from '../platform/command.js';
import type { Check } from '../platform/preflight.js';
import { checkSystemd, type SystemdOptions } from '../platform/service-manager.js';
import type { TakeoverOptions } from '../platform/takeover.js';
import { RESERVED } from '../resources/ledger.js';
import type { HealthEndpointOptions } from './health-endpoint.js';
import type { CloseHookOptions, ListenOptions, UpgradeOptions } from './types.js';

export interface TimelineOptions {
  /** Each process of a handover writes its part into it. Made where it is missing. */
  readonly directory: string;
}

/** How this process hands over, and how it drains; every one may be left out. */
export interface HandoverOptions {
  /** Milliseconds a successor may take from its start to `ready()`. @default 60000 */
  readonly readyTimeout?: number;
  /** Milliseconds connections may take to end once this process is superseded or closing. @default 30000 */
  readonly drainTimeout?: number;
  /**
   * Milliseconds after which a busy connection on which no byte moves is cut before `drainTimeout`; 0: never. For a long
   * `drainTimeout`, which then only transfers that go on use up. An answer that takes its time moves no byte either: set it
   * to more than the slowest. @default 0
   */
  readonly drainIdleTimeout?: number;
  /**
   * Milliseconds in which both processes accept and the successor is watched before it is put in charge; 0: none.
   * @default 1000
   */
  readonly probation?: number;
  /** Milliseconds a successor on probation may be silent; five times as many once it is in charge. @default 2000 */
  readonly probationStall?: number;
  /** Runs in a successor before it says that it is ready: fill caches, call hot handlers. */
  readonly warmup?: () => unknown;
  /** Asked in a successor with every heartbeat; false or a rejection ends the handover, until its predecessor is gone. */
  readonly health?: () => boolean | Promise<boolean>;
  /** A socket by which an independently started process takes over. Ignored in a worker of `handover run`. */
  readonly takeover?: string | TakeoverOptions;
  /**
   * A Unix socket by which the command line reaches this process, in a directory that nobody else can write to. Ignored in a
   * worker of `handover run`, which has its own (`--control`).
   */
  readonly control?: string;
  /** A tiny server for orchestrators: `/livez`, and `/readyz`, which is 200 only when in charge and not draining. */
  readonly healthEndpoint?: HealthEndpointOptions;
  /** Whether live connections move to the successor, or end politely in this process. @default 'move' */
  readonly connections?: 'move' | 'drain';
  /**
   * Milliseconds over which WebSockets that do not move are closed with code 1012, at random moments; all at once they would
   * come back all at once. @default the smaller of drainTimeout / 2 and 5000
   */
  readonly closeSpread?: number;
  /** Written by the process in charge. Ignored in a worker of `handover run`. */
  readonly pidFile?: string;
  /** Older generations that may still drain when the next handover begins. @default 2 */
  readonly maxDraining?: number;
  /** Kill the oldest instead of refusing the handover. @default false */
  readonly forceOldest?: boolean;
  /** Overrides what the successor is started with. */
  readonly successor?: SuccessorCommand;
  /** Tries the new release first: arguments added to its command, which must exit 0, or a function that throws. */
  readonly check?: Check;
  /** Refuse where the cgroup has less memory left than this process uses. @default true */
  readonly checkMemory?: boolean;
  /** Hand over also where the end of this process would take the successor along. @default false */
  readonly allowOrphan?: boolean;
  /**
   * What systemd is told where NOTIFY_SOCKET is set: ready, reloading, the new main process, stopping, the watchdog. `false`
   * leaves it to the app, and then a handover that systemd would have to know of is refused. @default {}
   */
  readonly systemd?: SystemdOptions | false;
  /**
   * What a listener comes to that a predecessor hands over and this process does not claim before `ready()`: its clients
   * would be refused. `'fail'`: the handover fails with ERR_HANDOVER_UNCLAIMED, and the predecessor serves on. `'close'`, or
   * the names of those a release leaves on purpose: it is closed, and reported. Does not concern what a supervisor passed
   * along. @default 'fail'
   */
  readonly unclaimed?: Unclaimed;
  /** A file that gets one line of JSON for each handover, when it is over. */
  readonly audit?: string;
  /** Records each handover for `handover/timeline`. */
  readonly timeline?: TimelineOptions;
}

/** The options with their defaults. */
export interface CheckedOptions {
  readonly readyTimeout: number;
  readonly drainTimeout: number;
  readonly drainIdleTimeout: number;
  readonly probation: number;
  readonly probationStall: number;
  readonly warmup: (() => unknown) | undefined;
  readonly health: (() => boolean | Promise<boolean>) | undefined;
  readonly takeover: TakeoverOptions | undefined;
  readonly control: string | undefined;
  readonly healthEndpoint: HealthEndpointOptions | undefined;
  readonly connections: 'move' | 'drain';
  readonly closeSpread: number;
  readonly pidFile: string | undefined;
  readonly maxDraining: number;
  readonly forceOldest: boolean;
  readonly successor: SuccessorCommand;
  readonly check: Check | undefined;
  readonly checkMemory: boolean;
  readonly allowOrphan: boolean;
  readonly systemd: SystemdOptions | false;
  readonly unclaimed: Unclaimed;
  readonly audit: string | undefined;
  readonly timeline: TimelineOptions | undefined;
}

export const HANDOVER_OPTIONS: readonly string[] = [
  'readyTimeout',
  'drainTimeout',
  'drainIdleTimeout',
  'probation',
  'probationStall',
  'warmup',
  'health',
  'takeover',
  'control',
  'healthEndpoint',
  'connections',
  'closeSpread',
  'pidFile',
  'maxDraining',
  'forceOldest',
  'successor',
  'check',
  'checkMemory',
  'allowOrphan',
  'systemd',
  'unclaimed',
  'audit',
  'timeline',
];

export function checkHandoverOptions(options: HandoverOptions): CheckedOptions {
  const given = expectOptions('options', options, HANDOVER_OPTIONS);
  const integer = (name: keyof HandoverOptions, byDefault: number, minimum: number): number =>
    expectInteger(`options.${name}`, given[name] ?? byDefault, minimum);
  const flag = (name: keyof HandoverOptions, byDefault: boolean): boolean =>
    expectBoolean(`options.${name}`, given[name] ?? byDefault);
  for (const name of ['warmup', 'health']) expectFunction(`options.${name}`, given[name]);
  const drainTimeout = integer('drainTimeout', 30_000, 0);
  return {
    readyTimeout: integer('readyTimeout', 60_000, 1),
    drainTimeout,
    drainIdleTimeout: integer('drainIdleTimeout', 0, 0),
    closeSpread: integer('closeSpread', Math.min(drainTimeout / 2, 5_000) | 0, 0),
    probation: integer('probation', 1_000, 0),
    probationStall: integer('probationStall', 2_000, 200),
    warmup: options.warmup,
    health: options.health,
    takeover: checkTakeover(given.takeover),
    control: given.control === undefined ? undefined : expectString('options.control', given.control),
    healthEndpoint: checkHealthEndpoint(given.healthEndpoint),
    connections: checkConnections(given.connections),
    pidFile: given.pidFile === undefined ? undefined : expectString('options.pidFile', given.pidFile),
    maxDraining: integer('maxDraining', 2, 1),
    forceOldest: flag('forceOldest', false),
    successor: checkSuccessor(given.successor),
    check: checkCheck(given.check),
    checkMemory: flag('checkMemory', true),
    allowOrphan: flag('allowOrphan', false),
    systemd: checkSystemd(given.systemd),
    unclaimed: checkUnclaimed(given.unclaimed),
    audit: given.audit === undefined ? undefined : expectString('options.audit', given.audit),
    timeline: checkTimeline(given.timeline),
  };
}

function checkConnections(connections: unknown = 'move'): 'move' | 'drain' {
  if (connections === 'move' || connections === 'drain') return connections;
  throw typeError('options.connections', "'move' or 'drain'", connections);
}

function expectFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw typeError(name, 'a function', value);
}

function checkTakeover(takeover: unknown): TakeoverOptions | undefined {
  if (takeover === undefined) return undefined;
  if (typeof takeover === 'string') return { path: expectString('options.takeover', takeover) };
  const { path, allow } = expectOptions('options.takeover', takeover, ['path', 'allow']);
  expectString('options.takeover.path', path);
  expectFunction('options.takeover.allow', allow);
  return takeover as TakeoverOptions;
}

function checkHealthEndpoint(endpoint: unknown): HealthEndpointOptions | undefined {
  if (endpoint === undefined) return undefined;
  const { port, host, path } = expectOptions('options.healthEndpoint', endpoint, ['port', 'host', 'path']);
  if ((port === undefined) === (path === undefined)) {
    throw typeError('options.healthEndpoint', 'given with one of port, path', endpoint);
  }
  if (path !== undefined && host !== undefined) {
    throw typeError('options.healthEndpoint.host', 'absent where there is a path', host);
  }
  if (port !== undefined) expectInteger('options.healthEndpoint.port', port, 0, 65_535);
  if (host !== undefined) expectString('options.healthEndpoint.host', host);
  if (path !== undefined) expectString('options.healthEndpoint.path', path);
  return endpoint as HealthEndpointOptions;
}

function checkSuccessor(successor: unknown = {}): SuccessorCommand {
  const given = expectOptions('options.successor', successor, ['command', 'args', 'cwd', 'env', 'execArgv']);
  for (const name of ['command', 'cwd']) {
    if (given[name] !== undefined) expectString(`options.successor.${name}`, given[name]);
  }
  for (const name of ['args', 'execArgv']) expectStrings(`options.successor.${name}`, given[name] ?? []);
  const { env } = given;
  if (env !== undefined && typeof env !== 'function' && (typeof env !== 'object' || env === null)) {
    throw typeError('options.successor.env', 'an object, or a function that returns one', env);
  }
  return successor as SuccessorCommand;
}

function checkCheck(check: unknown): Check | undefined {
  if (check !== undefined && typeof check !== 'function') expectStrings('options.check', check);
  return check as Check | undefined;
}

function expectStrings(name: string, value: unknown): void {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return;
  throw typeError(name, 'a list of strings', value);
}

export const LISTEN_OPTIONS: readonly string[] = ['name', 'migrate', ...ADDRESS_OPTIONS];

function checkMigration(migrate: unknown): void {
  const hooks = expectOptions('options.migrate', migrate, ['save', 'restore', 'stay']);
  for (const name of ['save', 'restore', 'stay']) {
    const isAbsent = name === 'stay' && hooks.stay === undefined;
    if (!isAbsent && typeof hooks[name] !== 'function')
      throw typeError(`options.migrate.${name}`, 'a function', hooks[name]);
  }
}

/** The address itself is checked where it is bound. */
export function checkListenOptions(options: ListenOptions): ListenOptions {
  const { name, migrate } = expectOptions('options', options, LISTEN_OPTIONS);
  if (migrate !== undefined) checkMigration(migrate);
  if (name !== undefined && expectString('options.name', name).startsWith(RESERVED)) {
    throw typeError('options.name', `a name that does not begin with ${RESERVED}`, name);
  }
  return options;
}

const DEFAULT_HOOK_TIMEOUT = 5_000;

export function checkCloseHook(
  name: string,
  hook: unknown,
  options: CloseHookOptions,
): { readonly timeout: number; readonly after: string | undefined } {
  expectString('name', name);
  if (typeof hook !== 'function') throw typeError('hook', 'a function', hook);
  const { timeout = DEFAULT_HOOK_TIMEOUT, after } = expectOptions('options', options, ['timeout', 'after']);
  return {
    timeout: expectInteger('options.timeout', timeout, 1),
    after: after === undefined ? undefined : expectString('options.after', after),
  };
}

/** @throws TypeError an unknown option, or one of another type */
export function checkUpgradeOptions(options: unknown): UpgradeOptions {
  const { signal, requester, profile } = expectOptions('options', options, ['signal', 'requester', 'profile']);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw typeError('options.signal', 'an AbortSignal', signal);
  if (profile !== undefined) expectString('options.profile', profile);
  if (requester !== undefined) checkRequester(requester);
  return options as UpgradeOptions;
}

const REQUESTERS: readonly unknown[] = ['app', 'signal', 'takeover', 'supervisor', 'control'];

function checkRequester(requester: unknown): void {
  const { by, signal, pid, uid } = expectOptions('options.requester', requester, ['by', 'signal', 'pid', 'uid']);
  if (!REQUESTERS.includes(by)) throw typeError('options.requester.by', `one of ${REQUESTERS.join(', ')}`, by);
  if (signal !== undefined) expectString('options.requester.signal', signal);
  for (const [name, value] of Object.entries({ pid, uid })) {
    if (value !== undefined) expectInteger(`options.requester.${name}`, value, 0);
  }
}

/** @throws TypeError no directory, or no string */
function checkTimeline(timeline: unknown): TimelineOptions | undefined {
  if (timeline === undefined) return undefined;
  const { directory } = expectOptions('options.timeline', timeline, ['directory']);
  return { directory: expectString('options.timeline.directory', directory) };
}
