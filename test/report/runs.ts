// Runs for reports: real ones against a server that hands over, and made-up ones as `handover hammer --json` prints them.
import type { Details, Result, Tick } from '../../lib/report/data.js';
import { runHammer } from '../hammer/helpers.js';
import { freePort, untilAccepted } from '../helpers/ports.js';
import type { Programs } from '../helpers/programs.js';

export interface MadeRun {
  readonly ticks?: readonly Partial<Tick>[];
  readonly details?: Partial<Details>;
  readonly result?: Partial<Result>;
}

const NO_LOSSES = {
  refused: 0,
  resetBeforeWrite: 0,
  resetAfterWrite: 0,
  earlyClose: 0,
  short: 0,
  wrongBody: 0,
  unanswered: 0,
  status: 0,
};

/** Ten seconds, 40,000 answers, one switch from process A to B in the middle; on top of it what a test is about. */
export function madeRun({ ticks = [], details = {}, result = {} }: MadeRun = {}): string {
  const plain = Array.from({ length: 40 }, (_, index): Tick => {
    const more = ticks[index] ?? {};
    return {
      atMs: (index + 1) * 250,
      coversMs: 250,
      ok: 1_000,
      lost: 0,
      lostBy: {},
      opened: index === 0 ? 10 : 0,
      closed: 0,
      closedByServer: 0,
      reconnects: 0,
      latencyMs: { p50: 1, p99: 2, max: 3 + (index % 3) },
      latencyCounts: { 159: 490 + (index % 7), 165: 500, 176: 10 },
      answersBy: { [index < 20 ? 'A' : 'B']: 1_000 },
      ...more,
    };
  });
  const more: Details = {
    url: 'http://localhost/',
    startedAt: Date.UTC(2026, 0, 1),
    mix: { 'keep-alive': 10 },
    loop: 'closed',
    rate: null,
    elapsedMs: 10_000,
    requestsPerSecond: 4_000,
    latencyMs: { mean: 1, p90: 1.5, 'p99.9': 3 },
    reconnectsForced: 0,
    identities: [
      { id: 'A', answers: 20_000, firstAt: 1, lastAt: 5_000 },
      { id: 'B', answers: 20_000, firstAt: 4_990, lastAt: 10_000 },
    ],
    triggers: [{ atMs: 4_500 }],
    switchGapsMs: [5],
    fates: [{ from: 'A', to: 'B', connections: 10 }],
    kernel: {},
    losses: [],
    ...details,
  };
  const last: Result = {
    requests: { ok: 40_000, lost: 0 },
    lostBy: NO_LOSSES,
    connections: { opened: 10, closedByServer: 0 },
    latencyMs: { p50: 1, p99: 2, max: 5 },
    longestGapMs: 5,
    switches: [{ from: 'A', to: 'B', atMs: 4_990, triggeredAtMs: 4_500, triggerToFirstAnswerMs: 490, overlapMs: 10 }],
    ...result,
  };
  const lines = [...plain.map((tick) => ({ type: 'tick', ...tick })), { type: 'details', ...more }, last];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

export interface HandedOver {
  readonly lines: readonly object[];
  readonly code: number | null;
}

/** Hammers fixtures/server.mjs through two handovers, with its timelines in `directory`. */
export async function hammerHandovers(programs: Programs, directory: string, ...more: string[]): Promise<HandedOver> {
  const port = freePort();
  const env = { PORT: String(port), TIMELINE: directory };
  const server = programs.start(new URL('fixtures/server.mjs', import.meta.url), { env });
  await untilAccepted(port);
  const how = ['--identify', 'header:x-pid', '--signal', 'identified', '--every', '2500ms', '--duration', '7400ms'];
  const load = ['--mix', 'keep-alive:6,new:2,idle:2', '--idle', '400ms', '--think', '2ms', '--timeline', directory];
  const { code, result, lines } = await runHammer(programs, `http://127.0.0.1:${port}/`, ...how, ...load, ...more);
  const { to } = result.switches.at(-1) ?? {};
  const last = programs.follow(Number(to));
  last.signal('SIGTERM');
  await last.gone();
  await server.exit();
  return { code, lines };
}
