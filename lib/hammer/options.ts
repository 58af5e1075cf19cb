// Turns the command line into a plan, and reports every mistake before the first connection.
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { constants } from 'node:os';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import { parseDuration } from './duration.js';
import type { IdentifyBy } from './identify.js';
import { type Limit, parseLimits } from './limits.js';
import type { Expectation } from './outcome.js';
import { CLIENT_KINDS, type ClientKind, type Mix, type Plan, type Target } from './plan.js';
import type { TriggerOptions } from './trigger.js';
import type { HAMMER_OPTIONS } from './usage.js';

export interface HammerOptions {
  readonly url: string;
  readonly plan: Plan;
  readonly trigger?: TriggerOptions;
  /** Path of the server's log, in ledger mode. */
  readonly ledger?: string;
  readonly limits: readonly Limit[];
  readonly allowsLost: boolean;
}

const DEFAULT_MIX = 'keep-alive:10,new:2,idle:4,pipelined:2,half-sent:2';
/** Bounds runs with `--requests`, which end by themselves. */
const LONGEST_RUN = 24 * 3_600_000;
/** The longest timer of Node: a longer one fires at once. */
const LONGEST_TIME = 2 ** 31 - 1;

type Table = typeof HAMMER_OPTIONS;
type ValueOf<O> = O extends { readonly type: 'boolean' }
  ? boolean
  : O extends { readonly multiple: true }
    ? readonly string[]
    : string;

/** The values from the command line, by the table of options. */
export type HammerValues = { readonly [Name in keyof Table]?: ValueOf<Table[Name]> };

/** @throws CommandError naming what was expected */
export function readOptions(values: HammerValues, args: readonly string[]): HammerOptions {
  const [text, ...more] = args;
  if (more.length > 0) throw usageError(`one URL at a time; too many: ${more.join(' ')}`);
  if (text === undefined) throw usageError('which server? handover hammer http://localhost:8080');
  const url = readUrl(text);
  const plan = readPlan(url, values);
  const trigger = readTrigger(values, plan.duration);
  if (values.signal === 'identified' && values.identify === undefined) {
    throw usageError('--signal identified needs --identify');
  }
  return {
    url: url.href,
    plan,
    ...(trigger === undefined ? {} : { trigger }),
    ...(values.ledger === undefined ? {} : { ledger: values.ledger }),
    limits: orUsage(() => parseLimits(values['fail-if'] ?? '')),
    allowsLost: values['allow-lost'] === true,
  };
}

function readPlan(url: URL, values: HammerValues): Plan {
  const mix = readMix(values);
  const clients = Object.values(mix).reduce((sum, count) => sum + count, 0);
  if (clients === 0) throw usageError('--mix names no client');
  const threads = toNumber('--threads', values.threads ?? '1', 1);
  const requests = values.requests === undefined ? undefined : toNumber('--requests', values.requests, 1);
  const identify = values.identify === undefined ? undefined : readIdentify(values.identify);
  const rate = values.rate === undefined ? undefined : toNumber('--rate', values.rate, 0.001, Number.isFinite);
  return {
    target: readTarget(url, values),
    request: readRequest(url, values),
    expectation: readExpectation(values),
    ...(identify === undefined ? {} : { identify }),
    mix,
    threads: Math.min(threads, clients),
    duration: toTime('duration', values.duration ?? (requests === undefined ? '10s' : `${LONGEST_RUN}ms`), 1),
    ...(requests === undefined ? {} : { requests }),
    ...(rate === undefined ? {} : { rate }),
    think: toTime('think', values.think ?? '0ms'),
    idle: toTime('idle', values.idle ?? '3s'),
    halfPause: toTime('half-pause', values['half-pause'] ?? '200ms'),
    depth: toNumber('--depth', values.depth ?? '4', 1),
    answerTimeout: toTime('timeout', values.timeout ?? '10s', 1),
    connectTimeout: toTime('connect-timeout', values['connect-timeout'] ?? '3s', 1),
  };
}

function readUrl(text: string): URL {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : undefined);
  if (url && ['http:', 'https:', 'ws:', 'wss:'].includes(url.protocol)) return url;
  throw usageError(`${text} is no URL of http, https, ws or wss`);
}

function readTarget(url: URL, values: HammerValues): Target {
  const isTls = url.protocol === 'https:' || url.protocol === 'wss:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const version = values['tls-version'];
  if (version !== undefined && version !== '1.2' && version !== '1.3') throw usageError('--tls-version is 1.2 or 1.3');
  return {
    isTls,
    host,
    port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
    ...(values.unix === undefined ? {} : { unixPath: values.unix }),
    // RFC 6066 §3: addresses are not allowed in SNI.
    ...(net.isIP(host) === 0 ? { serverName: host } : {}),
    ...(version === undefined ? {} : { tlsVersion: `TLSv${version}` }),
    resumes: values['no-resume'] !== true,
  };
}

function readRequest(url: URL, values: HammerValues): Plan['request'] {
  for (const header of values.header ?? []) {
    if (!/^[^\s:]+:[^\r\n]*$/.test(header)) throw usageError(`--header ${header} is not NAME: VALUE`);
  }
  if (values['ledger-header'] !== undefined && values.ledger === undefined) {
    throw usageError('--ledger-header needs --ledger');
  }
  const path = url.pathname + url.search;
  return {
    method: (values.method ?? 'GET').toUpperCase(),
    path,
    webSocketPath: values.websocket ?? path,
    authority: url.host,
    headers: values.header ?? [],
    ...(values.body === undefined ? {} : { body: values.body }),
    ...(values.ledger === undefined ? {} : { numberHeader: values['ledger-header'] ?? 'x-request-number' }),
  };
}

function readMix(values: HammerValues): Mix {
  const mix = Object.fromEntries(CLIENT_KINDS.map((kind) => [kind, 0])) as Record<ClientKind, number>;
  if (values.connections !== undefined) {
    if (values.mix !== undefined) throw usageError('--connections and --mix exclude each other');
    mix['keep-alive'] = toNumber('--connections', values.connections, 1);
    return mix;
  }
  for (const part of (values.mix ?? DEFAULT_MIX).split(',')) {
    const [kind = '', count = '1'] = part.trim().split(':');
    if (!Object.hasOwn(mix, kind)) throw usageError(`--mix: there is no kind '${kind}'; ${CLIENT_KINDS.join(', ')}`);
    mix[kind as ClientKind] += toNumber('--mix', count, 0);
  }
  return mix;
}

function readExpectation(values: HammerValues): Expectation {
  const statuses = (values.status ?? '200-399').split(',').map((range) => {
    const [, from, to = from] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(range.trim()) ?? [];
    if (from === undefined) throw usageError(`--status ${range} is no status and no range of them`);
    return [Number(from), Number(to)] as const;
  });
  const [, what, value = ''] = /^(\w+)(?::(.*))?$/s.exec(values.expect ?? '') ?? [];
  if (values.expect === undefined) return { statuses };
  if (what === 'same' && value === '') return { statuses, same: true };
  if (what === 'text') return { statuses, text: value };
  if (what === 'length') return { statuses, length: toNumber('--expect length', value, 0) };
  if (what === 'sha256' && /^[\da-f]{64}$/i.test(value)) return { statuses, sha256: value.toLowerCase() };
  if (what === 'match') return { statuses, pattern: toPattern('--expect', value) };
  throw usageError(`--expect ${values.expect}: text:TEXT, sha256:HEX, length:N, match:REGEX or same`);
}

function readIdentify(text: string): IdentifyBy {
  const [, by, value] = /^(header|body):(.+)$/s.exec(text) ?? [];
  if (by === 'header' && value !== undefined) return { by, name: value.toLowerCase() };
  if (by === 'body' && value !== undefined) return { by, pattern: toPattern('--identify', value) };
  throw usageError(`--identify ${text}: header:NAME or body:REGEX`);
}

function readTrigger(values: HammerValues, duration: number): TriggerOptions | undefined {
  const { exec, signal, every, 'signal-name': signalName = 'SIGUSR2' } = values;
  if (exec !== undefined && signal !== undefined) throw usageError('--exec and --signal exclude each other');
  if (values['signal-name'] !== undefined && signal === undefined) throw usageError('--signal-name needs --signal');
  if (!Object.hasOwn(constants.signals, signalName)) throw usageError(`--signal-name ${signalName} is no signal here`);
  if (exec === undefined && signal === undefined) {
    if (every !== undefined) throw usageError('--every needs --exec or --signal');
    return undefined;
  }
  if (signal !== undefined && !/^(\d+|@.+|identified)$/.test(signal)) {
    throw usageError(`--signal ${signal}: a pid, @FILE or 'identified'`);
  }
  if (every === undefined && values.requests !== undefined && values.duration === undefined) {
    throw usageError('a run that ends by --requests has no middle: --every says when to trigger');
  }
  const interval = every === undefined ? undefined : toTime('every', every, 1);
  if (interval !== undefined && interval >= duration) {
    throw usageError(`--every ${every} triggers nothing in a run of ${duration} ms: it must be less than --duration`);
  }
  return {
    ...(exec === undefined ? {} : { exec }),
    ...(signal === undefined ? {} : { signal }),
    signalName: signalName as NodeJS.Signals,
    ...(interval === undefined ? {} : { every: interval }),
  };
}

/** Looks the name up once, so that connections neither measure a lookup nor try an address in vain. */
export async function resolveTarget(target: Target): Promise<Target> {
  if (target.unixPath !== undefined || net.isIP(target.host) !== 0) return target;
  const addresses = await lookup(target.host, { all: true });
  for (const { address } of addresses.length > 1 ? addresses : []) {
    if (await accepts(address, target.port)) return { ...target, host: address };
  }
  return { ...target, host: addresses[0]?.address ?? target.host };
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: 1_000 });
    const settle = (does: boolean) => (): void => {
      socket.destroy();
      resolve(does);
    };
    socket.once('connect', settle(true)).once('error', settle(false)).once('timeout', settle(false));
  });
}

function usageError(message: string): CommandError {
  return new CommandError(EXIT.usage, `${message}; see handover hammer --help`);
}

function orUsage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw usageError((error as Error).message);
  }
}

function toTime(name: string, text: string, minimum = 0): number {
  const time = parseDuration(text);
  if (time === undefined) throw usageError(`--${name} ${text} is no time like 500ms, 10s, 2m`);
  if (time < minimum) throw usageError(`--${name} must be ${minimum} ms at least, not ${text}`);
  if (time > LONGEST_TIME) throw usageError(`--${name} ${text} is more than a timer can wait: 596h at most`);
  return time;
}

function toNumber(name: string, text: string, minimum: number, isValid = Number.isSafeInteger): number {
  const value = Number(text);
  if (text.trim() !== '' && isValid(value) && value >= minimum) return value;
  throw usageError(`${name} must be a number from ${minimum} on, not '${text}'`);
}

function toPattern(name: string, source: string): string {
  return orUsage(() => new RegExp(source).source) || `${name} is empty`;
}
