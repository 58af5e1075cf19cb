// The types of `handover`, to the letter. Never run: `npm run typecheck` reads it.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, Socket } from 'node:net';
import {
  type Check,
  type CloseHookOptions,
  type CutConnections,
  type Handover,
  HandoverError,
  type HandoverErrorCode,
  type HandoverEventName,
  type HandoverEvents,
  type HandoverOptions,
  type Inherited,
  type Keepable,
  type KeptValue,
  type Listener,
  type ListenerStatus,
  type Listening,
  type ListenOptions,
  type Logger,
  type Migration,
  openHandover,
  type Phase,
  type PhaseRecord,
  type Requester,
  type ServeOptions,
  type ServeSignals,
  type Standby,
  type SuccessorCommand,
  type SystemdOptions,
  serve,
  type TakeoverOptions,
  type UpgradeOptions,
  type UpgradeOutcome,
} from '../../lib/index.js';
import { type Equal, same } from './same.js';

declare const handover: Handover;
declare const outcome: UpgradeOutcome;
declare const error: HandoverError;
declare const standby: Standby;
const step = handover.step('a', async () => 1, { after: 'b' });

// Results.
same<Equal<ReturnType<typeof openHandover>, Promise<Handover>>>();
same<Equal<ReturnType<typeof serve>, Promise<Handover>>>();
same<Equal<Handover['generation'], number>>();
same<Equal<Handover['isInCharge'], boolean>>();
same<Equal<Handover['closing'], AbortSignal>>();
same<Equal<Handover['closed'], Promise<void>>>();
same<Equal<Handover['connectionCount'], number>>();
same<Equal<Handover['listeners'], readonly ListenerStatus[]>>();
same<Equal<ReturnType<Handover['listen']>, Promise<Listening>>>();
same<Equal<ReturnType<Handover['ready']>, Promise<void>>>();
same<Equal<ReturnType<Handover['upgrade']>, Promise<UpgradeOutcome>>>();
same<Equal<ReturnType<Handover['prepare']>, Promise<Standby>>>();
same<Equal<ReturnType<Handover['whenInCharge']>, void>>();
same<Equal<Parameters<Handover['whenInCharge']>, [duty: (signal: AbortSignal) => unknown]>>();
same<Equal<ReturnType<Handover['waitUntil']>, void>>();
same<Equal<ReturnType<Handover['keep']>, void>>();
same<Equal<ReturnType<Handover['inherited']>, Inherited | undefined>>();
same<Equal<ReturnType<Handover['onClose']>, void>>();
same<Equal<ReturnType<Handover['close']>, Promise<void>>>();
same<
  Equal<
    Handover['draining'],
    readonly {
      readonly generation: number;
      readonly pid: number;
      readonly startTime?: string | undefined;
      readonly age: number;
      readonly connections: number;
    }[]
  >
>();
same<Equal<Listening['address'], AddressInfo | string>>();
same<Equal<Listening['origin'], 'inherited' | 'activated' | 'bound'>>();
same<Equal<UpgradeOutcome['phases'], readonly PhaseRecord[]>>();
same<Equal<UpgradeOutcome['claimed'], readonly string[]>>();
same<Equal<UpgradeOutcome['unclaimed'], readonly string[]>>();
same<Equal<Standby['claims']['claimed'], readonly string[]>>();
same<Equal<PhaseRecord['name'], Phase>>();
same<Equal<Phase, 'PREPARE' | 'PROBATION' | 'COMMIT' | 'MIGRATE' | 'DRAIN' | 'RETIRE'>>();
// @ts-expect-error what has happened is not rewritten
outcome.generation = 3;
// @ts-expect-error nor is the list of it
outcome.claimed.push('web');
// @ts-expect-error a generation is counted by the library
handover.generation = 2;
// @ts-expect-error who drains is told, not set
handover.draining.pop();

// openHandover
void openHandover();
void openHandover({ readyTimeout: 1, drain: { timeout: 0, idleTimeout: 1, spread: 2 }, allowOrphan: true });
// @ts-expect-error unknown options are errors
void openHandover({ timeout: 1 });
// @ts-expect-error milliseconds are a number
void openHandover({ readyTimeout: '1s' });
// @ts-expect-error an option is given or left out
void openHandover({ drain: { timeout: undefined } });
// @ts-expect-error unknown members are errors
void openHandover({ drain: { timeOut: 1 } });
same<Equal<HandoverOptions['allowOrphan'], boolean | undefined>>();
same<Equal<HandoverOptions['systemd'], SystemdOptions | false | undefined>>();
same<Equal<SystemdOptions['fdstore'], boolean | undefined>>();
void openHandover({ systemd: { fdstore: true } });
// @ts-expect-error an unknown option of systemd
void openHandover({ systemd: { fdStore: true } });
same<Equal<HandoverOptions['migrate'], boolean | undefined>>();
same<
  Equal<
    HandoverOptions['drain'],
    { readonly timeout?: number; readonly idleTimeout?: number; readonly spread?: number } | undefined
  >
>();
same<Equal<HandoverOptions['unclaimed'], 'fail' | 'close' | readonly string[] | undefined>>();
void openHandover({ migrate: false });
// @ts-expect-error they migrate or they do not
void openHandover({ migrate: 'drain' });
void openHandover({ probation: { duration: 0, stallTimeout: 2_000 }, maxDraining: 3, forceOldest: true });
void openHandover({ warmup: () => Promise.resolve(), health: { check: () => true }, pidFile: 'app.pid' });
void openHandover({ health: { check: async () => false, endpoint: { port: 9090 } } });
// @ts-expect-error milliseconds are a number
void openHandover({ probation: { duration: '1s' } });
// @ts-expect-error none is 0
void openHandover({ probation: false });
// @ts-expect-error healthy is yes or no
void openHandover({ health: { check: () => 'ok' } });
// @ts-expect-error work to be done, not work under way
void openHandover({ warmup: Promise.resolve() });
// @ts-expect-error how many, not whether
void openHandover({ maxDraining: true });
// @ts-expect-error a path, not a pid
void openHandover({ pidFile: process.pid });

// takeover: a path, or who may.
void openHandover({ takeover: 'admin.sock' });
void openHandover({
  takeover: { path: 'admin.sock', allow: ({ uid, gid, pid, pidfd }) => uid + gid === pid || !pidfd },
});
// @ts-expect-error somewhere to dial
void openHandover({ takeover: { allow: () => true } });
// @ts-expect-error a policy decides at once
void openHandover({ takeover: { path: 'admin.sock', allow: async () => true } });
// @ts-expect-error unknown options are errors
void openHandover({ takeover: { path: 'admin.sock', mode: 0o600 } });
same<Equal<HandoverOptions['takeover'], string | TakeoverOptions | undefined>>();

// successor: what differs from this process' own command.
void openHandover({ successor: { command: 'node', args: ['app.js'], execArgv: [], cwd: '.', env: { NODE_ENV: 'x' } } });
void openHandover({ successor: { env: async ({ PATH }) => ({ PATH, TOKEN: undefined }) } });
// @ts-expect-error an environment is an object
void openHandover({ successor: { env: () => ['A=1'] } });
// @ts-expect-error one argument is a list of one
void openHandover({ successor: { args: 'app.js' } });
// @ts-expect-error unknown options are errors
void openHandover({ successor: { shell: true } });
same<Equal<HandoverOptions['successor'], SuccessorCommand | undefined>>();

// preflight.command: arguments, or a function that throws.
void openHandover({ preflight: { command: ['--check'], memory: false } });
void openHandover({
  preflight: { command: async ({ file, args, cwd, variables }) => void [file, args, cwd, variables] },
});
// @ts-expect-error one argument is a list of one
void openHandover({ preflight: { command: '--check' } });
same<Equal<NonNullable<HandoverOptions['preflight']>['command'], Check | undefined>>();

// Old spellings are still types, for this version.
void openHandover({ drainTimeout: 0, drainIdleTimeout: 0, closeSpread: 0, probation: 0, probationStall: 200 });
void openHandover({ health: () => true, healthEndpoint: { port: 1 }, check: ['-t'], checkMemory: false });
void openHandover({ connections: 'move' });
// @ts-expect-error they moved or they drained
void openHandover({ connections: 'keep' });

// listen: servers of net, http, https and http2, and UDP sockets.
const listeners: Listener[] = [
  createTcpServer(),
  createServer(),
  createTlsServer(),
  createSecureServer(),
  createSocket('udp4'),
];
for (const listener of listeners) void handover.listen(listener, { port: 0 });
void handover.listen(createServer(), { name: 'web', port: 80, host: '::', ipv6Only: true, backlog: 511 });
void handover.listen(createServer(), { path: 'web.sock', mode: 0o660, uid: 1, gid: 1 });
void handover.listen(createServer(), { abstract: 'web' });
// @ts-expect-error somewhere to listen
void handover.listen(createServer());
// @ts-expect-error a port is a number
void handover.listen(createServer(), { port: '80' });
// @ts-expect-error unknown options are errors
void handover.listen(createServer(), { prot: 80 });
// @ts-expect-error a connection is no listener
void handover.listen(new Socket(), { port: 80 });
same<Equal<ListenOptions['name'], string | undefined>>();

// upgrade
void handover.upgrade();
void handover.upgrade({ signal: AbortSignal.timeout(1) });
// @ts-expect-error the controller is not the signal
void handover.upgrade({ signal: new AbortController() });
// @ts-expect-error unknown options are errors
void handover.upgrade({ timeout: 1 });

void handover.upgrade({ requester: { by: 'signal', signal: 'SIGHUP' }, profile: 'profiles' });
// @ts-expect-error whoever asks is one of these
void handover.upgrade({ requester: { by: 'nobody' } });
same<
  Equal<
    UpgradeOptions,
    {
      readonly signal?: AbortSignal | undefined;
      readonly requester?: Requester | undefined;
      readonly profile?: string | undefined;
    }
  >
>();

// step: what it returns is what the step returns.
same<Equal<typeof step, Promise<number>>>();
void handover.step('b', async () => {}, { after: ['a'] });
// @ts-expect-error unknown options are errors
void handover.step('b', () => {}, { before: 'a' });

// prepare: a successor that waits.
void handover.prepare();
void handover.prepare({ signal: AbortSignal.timeout(1) });
// @ts-expect-error unknown options are errors
void handover.prepare({ standby: true });
same<Equal<Standby['generation'], number>>();
same<Equal<Standby['pid'], number>>();
same<Equal<Standby['lost'], Promise<unknown>>>();
same<Equal<ReturnType<Standby['commit']>, Promise<UpgradeOutcome>>>();
same<Equal<ReturnType<Standby['discard']>, Promise<void>>>();
// @ts-expect-error a process keeps its pid
standby.pid = 1;
// @ts-expect-error what is not given to the standby is not read
void standby.commit({ signal: AbortSignal.timeout(1) });

// migrate: the app's own state out of one process and into the next.
const lines: Migration<{ count: number }> = {
  save: (socket) => (socket.destroyed ? undefined : { count: 1 }),
  restore: (socket, { count }) => socket.write(`${count}`),
  stay: (socket) => socket.resume(),
};
void handover.listen(createTcpServer(), { port: 80, migrate: lines });
void handover.listen(createTcpServer(), {
  path: 'x',
  migrate: { save: async () => Buffer.from('x'), restore: async (_socket, _state: Buffer) => {} },
});
void serve(createTcpServer(), { port: 80, migrate: lines });
same<Equal<ListenOptions['migrate'], Migration | undefined>>();
same<Equal<ReturnType<Migration<number>['save']>, number | undefined | Promise<number | undefined>>>();
same<Equal<Parameters<Migration<number>['restore']>, [socket: Socket, state: number]>>();
// @ts-expect-error what is saved must be restored
void handover.listen(createTcpServer(), { port: 80, migrate: { save: () => 1 } });
// @ts-expect-error unknown hooks are errors
void handover.listen(createTcpServer(), { port: 80, migrate: { ...lines, load: () => 1 } });
// @ts-expect-error the state is one type
const mixed: Migration<number> = { save: () => 'x', restore: () => {} };
void mixed;

// whenInCharge: the duty ends by its signal, and is nobody's to await.
handover.whenInCharge((signal) => signal.throwIfAborted());
handover.whenInCharge(async () => 'whatever it returns');
// @ts-expect-error a duty, not its promise
handover.whenInCharge(Promise.resolve());

// waitUntil
handover.waitUntil(Promise.resolve(1));
// @ts-expect-error work under way, not work to be done
handover.waitUntil(() => Promise.resolve());

// keep and inherited: bytes, a descriptor, or bytes asked for at COMMIT.
handover.keep('state', Buffer.from('x'));
handover.keep('state', new Uint8Array(1));
handover.keep('state', () => new Uint8Array(1));
handover.keep('state', async () => Buffer.from('x'));
handover.keep('state', 'x');
handover.keep('state', { users: 3 });
handover.keep('state', async () => ['a', null, true]);
handover.keepFd('log', 3);
// An old spelling, for this version.
handover.keep('log', 3);
// @ts-expect-error a descriptor is a number
handover.keepFd('log', 'x');
// @ts-expect-error a descriptor is given, not asked for
handover.keepFd('log', () => 3);
// @ts-expect-error it is kept under a name
handover.keep(Buffer.from('x'));
same<Equal<KeptValue, Uint8Array | string | boolean | null | object>>();
same<Equal<Keepable, KeptValue | (() => KeptValue | Promise<KeptValue>)>>();
same<Equal<Inherited['fd'], number>>();
same<Equal<ReturnType<Inherited['bytes']>, Buffer>>();
same<Equal<ReturnType<Inherited['json']>, unknown>>();
// @ts-expect-error there may be none
handover.inherited('state').bytes();

// onClose
handover.onClose('db', () => Promise.resolve(), { timeout: 1 });
handover.onClose('db', () => 'whatever it returns');
// @ts-expect-error a hook has a name
handover.onClose(() => {});
// @ts-expect-error unknown options are errors
handover.onClose('db', () => {}, { deadline: 1 });
handover.onClose('pool', () => {}, { after: 'db' });
// @ts-expect-error one hook, by its name
handover.onClose('pool', () => {}, { after: ['db'] });
same<Equal<CloseHookOptions, { readonly timeout?: number; readonly after?: string }>>();

// It is disposed of like any resource.
async function scope(): Promise<void> {
  await using opened = await openHandover();
  same<Equal<typeof opened, Handover>>();
  await using prepared = await opened.prepare();
  same<Equal<typeof prepared, Standby>>();
}
void scope;

// serve: the options of both, signals and a log.
declare const pino: Logger;
void serve(createServer(), { port: 80 });
void serve(createServer(), { port: 80, log: true, signals: false });
void serve(createServer(), {
  path: 'x',
  log: pino,
  signals: { upgrade: 'SIGHUP', shutdown: ['SIGTERM'] },
  drain: { timeout: 1 },
  probation: { duration: 0 },
  takeover: 'admin.sock',
  control: 'control.sock',
  health: { endpoint: { port: 9090 } },
  pidFile: 'app.pid',
});
void serve(createServer(), { port: 80, signals: { upgrade: false, shutdown: false } });
void serve(createServer(), { listen: { port: 80, name: 'web' }, migrate: false });
void serve(createTcpServer(), { listen: { port: 80, migrate: lines } });
// @ts-expect-error unknown options are errors in the group, too
void serve(createServer(), { listen: { prot: 80 } });
same<Equal<ServeOptions['migrate'], boolean | Migration | undefined>>();
// @ts-expect-error somewhere to listen
void serve(createServer());
// @ts-expect-error unknown options are errors
void serve(createServer(), { port: 80, sginals: false });
// @ts-expect-error no such signal
void serve(createServer(), { port: 80, signals: { upgrade: 'SIGFOO' } });
// @ts-expect-error one signal is a list of one
void serve(createServer(), { port: 80, signals: { shutdown: 'SIGTERM' } });
// @ts-expect-error a logger has info, warn and error
void serve(createServer(), { port: 80, log: { info: () => {} } });
same<Equal<ServeSignals['upgrade'], NodeJS.Signals | false | undefined>>();
same<Equal<ServeSignals['shutdown'], readonly NodeJS.Signals[] | false | undefined>>();
same<Equal<ServeSignals['drain'], NodeJS.Signals | false | undefined>>();
same<Equal<ServeOptions['log'], boolean | Logger | undefined>>();
same<Equal<ServeOptions['setup'], ((handover: Handover) => unknown) | undefined>>();

// Errors: the code is the contract.
same<Equal<HandoverError['code'], HandoverErrorCode>>();
same<Equal<HandoverError['stillServing'], boolean>>();
same<Equal<HandoverError['phase'], Phase | undefined>>();
same<Equal<HandoverError['exitCode'], number | null | undefined>>();
same<Equal<HandoverError['exitSignal'], string | null | undefined>>();
same<Equal<HandoverError['stderr'], string | undefined>>();
same<Equal<HandoverError['connectionsLost'], number | undefined>>();
void new HandoverError('ERR_HANDOVER_TIMEOUT', 'late', { phase: 'PREPARE', stillServing: true });
// @ts-expect-error it says whether its process serves
void new HandoverError('ERR_HANDOVER_TIMEOUT', 'late', { phase: 'PREPARE' });
// @ts-expect-error it says whether its process serves
void new HandoverError('ERR_HANDOVER_TIMEOUT', 'late');
// @ts-expect-error a phase is one of those of a handover
void new HandoverError('ERR_HANDOVER_TIMEOUT', 'late', { phase: 'LATE', stillServing: true });
// @ts-expect-error codes are a closed list
void new HandoverError('ERR_HANDOVER_NO_SUCH', 'late', { stillServing: true });
// @ts-expect-error a code is for good
error.code = 'ERR_HANDOVER_TIMEOUT';

// Events: a name has its payload.
same<
  Equal<
    HandoverEventName,
    | 'listen'
    | 'requested'
    | 'spawn'
    | 'step'
    | 'phase'
    | 'in-charge'
    | 'superseded'
    | 'failed'
    | 'drained'
    | 'frame'
    | 'outcome'
    | 'standby-lost'
    | 'takeover-refused'
    | 'control-refused'
    | 'app-recalled'
    | 'stuck'
    | 'certificates'
    | 'certificates-refused'
    | 'hook-failed'
  >
>();
same<
  Equal<
    HandoverEvents['superseded'],
    { readonly handoverId: string; readonly generation: number; readonly successorPid: number }
  >
>();
same<
  Equal<
    HandoverEvents['drained'],
    {
      readonly handoverId: string | undefined;
      readonly generation: number;
      readonly moved: number;
      readonly ended: number;
      readonly cut: number;
      readonly cutConnections: readonly CutConnections[];
      readonly durationMs: number;
    }
  >
>();
same<
  Equal<
    HandoverEvents['standby-lost'],
    { readonly handoverId: string; readonly generation: number; readonly error: Error }
  >
>();
same<
  Equal<
    HandoverEvents['frame'],
    {
      readonly direction: 'sent' | 'received';
      readonly name: string;
      readonly role: 'predecessor' | 'successor';
      readonly batch: number | undefined;
      readonly connections: number | undefined;
      readonly handoverId: string | undefined;
    }
  >
>();
same<
  Equal<
    HandoverEvents['takeover-refused'],
    { readonly uid: number; readonly pid: number | undefined; readonly reason: string }
  >
>();
same<Equal<HandoverEvents['stuck'], { readonly generation: number; readonly resources: readonly string[] }>>();
same<Equal<HandoverEvents['hook-failed'], { readonly name: string; readonly error: Error }>>();
