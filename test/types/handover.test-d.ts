// The types of `handover`, to the letter. Never run: `npm run typecheck` reads it.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, Socket } from 'node:net';
import {
  type CloseHookOptions,
  type Handover,
  HandoverError,
  type HandoverErrorCode,
  type HandoverEventName,
  type HandoverEvents,
  type HandoverOptions,
  type Listener,
  type Listening,
  type ListenOptions,
  type Logger,
  openHandover,
  type Phase,
  type PhaseRecord,
  type ServeOptions,
  type ServeSignals,
  serve,
  type UpgradeOutcome,
} from '../../lib/index.js';
import { type Equal, same } from './same.js';

declare const handover: Handover;
declare const outcome: UpgradeOutcome;
declare const error: HandoverError;

// Results.
same<Equal<ReturnType<typeof openHandover>, Promise<Handover>>>();
same<Equal<ReturnType<typeof serve>, Promise<Handover>>>();
same<Equal<Handover['generation'], number>>();
same<Equal<Handover['isInCharge'], boolean>>();
same<Equal<Handover['closing'], AbortSignal>>();
same<Equal<Handover['closed'], Promise<void>>>();
same<Equal<ReturnType<Handover['listen']>, Promise<Listening>>>();
same<Equal<ReturnType<Handover['ready']>, Promise<void>>>();
same<Equal<ReturnType<Handover['upgrade']>, Promise<UpgradeOutcome>>>();
same<Equal<ReturnType<Handover['onClose']>, void>>();
same<Equal<ReturnType<Handover['close']>, Promise<void>>>();
same<Equal<Listening['address'], AddressInfo | string>>();
same<Equal<Listening['origin'], 'inherited' | 'bound'>>();
same<Equal<UpgradeOutcome['phases'], readonly PhaseRecord[]>>();
same<Equal<UpgradeOutcome['claimed'], readonly string[]>>();
same<Equal<UpgradeOutcome['unclaimed'], readonly string[]>>();
same<Equal<PhaseRecord['name'], Phase>>();
same<Equal<Phase, 'PREPARE' | 'PROBATION' | 'COMMIT' | 'MIGRATE' | 'DRAIN' | 'RETIRE'>>();
// @ts-expect-error what has happened is not rewritten
outcome.generation = 3;
// @ts-expect-error nor is the list of it
outcome.claimed.push('web');
// @ts-expect-error a generation is counted by the library
handover.generation = 2;

// openHandover
void openHandover();
void openHandover({ readyTimeout: 1, drainTimeout: 0, allowOrphan: true });
// @ts-expect-error unknown options are errors
void openHandover({ timeout: 1 });
// @ts-expect-error milliseconds are a number
void openHandover({ readyTimeout: '1s' });
// @ts-expect-error an option is given or left out
void openHandover({ drainTimeout: undefined });
same<Equal<HandoverOptions['allowOrphan'], boolean | undefined>>();

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

// onClose
handover.onClose('db', () => Promise.resolve(), { timeout: 1 });
handover.onClose('db', () => 'whatever it returns');
// @ts-expect-error a hook has a name
handover.onClose(() => {});
// @ts-expect-error unknown options are errors
handover.onClose('db', () => {}, { deadline: 1 });
same<Equal<CloseHookOptions, { readonly timeout?: number }>>();

// It is disposed of like any resource.
async function scope(): Promise<void> {
  await using opened = await openHandover();
  same<Equal<typeof opened, Handover>>();
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
  drainTimeout: 1,
});
void serve(createServer(), { port: 80, signals: { upgrade: false, shutdown: false } });
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
same<Equal<ServeOptions['log'], boolean | Logger | undefined>>();

// Errors: the code is the contract.
same<Equal<HandoverError['code'], HandoverErrorCode>>();
same<Equal<HandoverError['stillServing'], boolean>>();
same<Equal<HandoverError['phase'], string | undefined>>();
same<Equal<HandoverError['exitCode'], number | null | undefined>>();
same<Equal<HandoverError['exitSignal'], string | null | undefined>>();
same<Equal<HandoverError['stderr'], string | undefined>>();
void new HandoverError('ERR_HANDOVER_TIMEOUT', 'late', { phase: 'PREPARE' });
// @ts-expect-error codes are a closed list
void new HandoverError('ERR_HANDOVER_NO_SUCH', 'late');
// @ts-expect-error a code is for good
error.code = 'ERR_HANDOVER_TIMEOUT';

// Events: a name has its payload.
same<
  Equal<HandoverEventName, 'listen' | 'phase' | 'in-charge' | 'superseded' | 'failed' | 'drained' | 'hook-failed'>
>();
same<Equal<HandoverEvents['superseded'], { readonly generation: number; readonly successorPid: number }>>();
same<Equal<HandoverEvents['hook-failed'], { readonly name: string; readonly error: Error }>>();
