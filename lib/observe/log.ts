// Log lines from the diagnostics channels, for a pino-compatible logger.
import type { CutConnections, HandoverEventName, HandoverEvents, Requester } from '../events.js';
import { writeStderr } from '../platform/write-stderr.js';
import { Observer } from './observer.js';

/** The methods that a logger needs: pino has them, and most others. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

type Line = readonly [level: keyof Logger, fields: object, message: string];

const LINES: { readonly [N in HandoverEventName]?: (payload: HandoverEvents[N]) => Line } = {
  listen: (listen) => [
    'info',
    { event: 'listen', ...listen },
    `${listen.origin} ${listen.address} as "${listen.name}"`,
  ],
  requested: ({ handoverId, generation, requester }) => {
    const fields = { event: 'requested', handoverId, generation, pid: process.pid, requester };
    return ['info', fields, `handover ${handoverId} was asked for by ${describeRequester(requester)}`];
  },
  'in-charge': ({ generation, handoverId, ...lists }) => {
    const fields = { event: 'in-charge', handoverId, generation, pid: process.pid, ...lists };
    return ['info', fields, `generation ${generation} is in charge`];
  },
  superseded: ({ handoverId, generation, successorPid }) => {
    const fields = { event: 'superseded', handoverId, generation, pid: process.pid, successorPid };
    return ['info', fields, `generation ${generation} handed over to pid ${successorPid} and drains`];
  },
  drained: ({ generation, moved, cut, cutConnections, ...rest }) => {
    const fields = { event: 'drained', generation, pid: process.pid, moved, cut, cutConnections, ...rest };
    const groups = cutConnections.map(describeCut).join('; ');
    const message = `generation ${generation} has drained: ${moved} connections moved, ${cut} were cut`;
    return cut > 0 ? ['warn', fields, `${message}: ${groups}`] : ['info', fields, message];
  },
  failed: ({ handoverId, generation, code, phase, stillServing, error }) => {
    const fields = { event: 'upgrade-failed', handoverId, generation, pid: process.pid, code, phase, stillServing };
    return ['error', fields, `the handover failed in ${phase ?? 'its beginning'}: ${firstLine(error)}`];
  },
  'standby-lost': ({ handoverId, generation, error }) => {
    const fields = { event: 'standby-lost', handoverId, generation, pid: process.pid };
    return ['error', fields, `the standby was lost: ${firstLine(error)}`];
  },
  'takeover-refused': (refused) => {
    return ['warn', { event: 'takeover-refused', ...refused }, `user ${refused.uid} may not take over`];
  },
  'control-refused': (refused) => {
    return ['warn', { event: 'control-refused', ...refused }, `user ${refused.uid} may not control this process`];
  },
  'app-recalled': ({ generation }) => {
    const fields = { event: 'app-recalled', generation, pid: process.pid };
    return ['warn', fields, `generation ${generation} serves on, although its app had begun to end`];
  },
  stuck: ({ generation, resources }) => {
    const fields = { event: 'stuck', generation, pid: process.pid, resources };
    return ['warn', fields, `generation ${generation} had to be ended, kept alive by ${resources.join(', ')}`];
  },
  certificates: ({ subject, fingerprint256, validTo }) => {
    const fields = { event: 'certificates', pid: process.pid, subject, fingerprint256, validTo };
    return ['info', fields, `new handshakes get the certificate of ${subject}, valid until ${validTo}`];
  },
  'certificates-refused': ({ key, cert, error }) => {
    const fields = { event: 'certificates-refused', pid: process.pid, key, cert };
    return ['error', fields, `${cert} and ${key} cannot be used: ${firstLine(error)}`];
  },
  'hook-failed': ({ name, error }) => ['error', { event: 'hook-failed', name, pid: process.pid }, firstLine(error)],
};

/** Leaves out the successor's stderr below the first line: it is on stderr already, and may hold anything. */
function firstLine({ message }: Error): string {
  return message.split('\n', 1)[0] ?? '';
}

function describeRequester({ by, signal, pid, uid }: Requester): string {
  const who = [signal, pid !== undefined && `pid ${pid}`, uid !== undefined && `user ${uid}`].filter(Boolean);
  return who.length > 0 ? `${by} (${who.join(', ')})` : by;
}

function describeCut({ listener, protocol, isTls, state, reason, ...sums }: CutConnections): string {
  const { connections, bytesRead, bytesWritten, oldestMs } = sums;
  const kind = `${state} ${protocol}${isTls && protocol !== 'tls' ? ' over TLS' : ''}`;
  const age = `${Math.round(oldestMs / 1_000)} s old`;
  return `${connections} ${kind} of "${listener}" by ${reason} (read ${bytesRead}, wrote ${bytesWritten} bytes, up to ${age})`;
}

/** Events that an operator must learn of even without a log. */
const FAILURES: readonly HandoverEventName[] = [
  'failed',
  'standby-lost',
  'takeover-refused',
  'certificates-refused',
  'hook-failed',
];

/** Number of logs that write every event: beside one, `logFailures` writes nothing. */
let complete = 0;

/**
 * Logs the events of this process' handover until the returned function is called. An error thrown by the logger is published
 * as `hook-failed`, and the log goes on.
 */
export function logHandover(logger: Logger): () => void {
  const end = logLines(Object.keys(LINES) as HandoverEventName[], logger, () => true);
  complete++;
  let isOn = true;
  return () => {
    end();
    if (isOn) complete--;
    isOn = false;
  };
}

/** Logs the failures only, and only while no complete log is on. */
export function logFailures(logger: Logger): () => void {
  return logLines(FAILURES, logger, () => complete === 0);
}

function logLines(names: readonly HandoverEventName[], logger: Logger, isWanted: () => boolean): () => void {
  const observer = new Observer('log');
  for (const name of names) {
    const toLine = LINES[name] as (payload: unknown) => Line;
    observer.on(name, (payload) => {
      if (!isWanted()) return;
      const [level, fields, message] = toLine(payload);
      logger[level](fields, message);
    });
  }
  return observer.end;
}

/** Writes one line of text for each event to stderr. Lines are lost where stderr is closed. */
export const stderrLogger: Logger = {
  info: (_fields, message) => write(message),
  warn: (_fields, message) => write(message),
  error: (_fields, message) => write(message),
};

function write(message: string): void {
  writeStderr(Buffer.from(`handover[${process.pid}]: ${message}\n`));
}
