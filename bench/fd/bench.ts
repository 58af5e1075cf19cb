// What it costs to pass a descriptor: this package, the same system calls in C, and Node's own handle passing.
import type { Bench, BenchOptions, Chart, Expectation, Report } from '../lib/bench.js';
import { type Contestant, startContestant, startNodeContestant } from '../lib/contestant.js';
import { atLeast, atMost } from '../lib/expectations.js';
import { medianRatio, spread } from '../lib/stats.js';
import { figure, presentSpread, table } from '../lib/table.js';
import { compileFloor } from './floor.js';

type System = 'c' | 'handover' | 'node-ipc';
type Mode = 'one-process' | 'two-process';

interface Row {
  readonly system: System;
  readonly mode: Mode;
  readonly perMessage: number;
  readonly nsPerFd: { readonly median: number; readonly min: number; readonly max: number };
  /** Round by round; null where there is no C program to compare with. */
  readonly ratioToC: number | null;
}

/** One measured combination, and what each round gave, in nanoseconds a descriptor. */
interface Entry {
  readonly contestant: Contestant;
  readonly system: System;
  readonly mode: Mode;
  readonly perMessage: number;
  messages: number;
  readonly rounds: number[];
}

const SIZES = [1, 16, 64, 253];
const MODES: readonly Mode[] = ['one-process', 'two-process'];
const TURN_MS = { quick: 3, full: 100 };
const MAX_MESSAGES = 1_000_000;

export const bench: Bench = { defaultRounds: 11, run };

async function run(options: BenchOptions): Promise<Report> {
  const floor = compileFloor();
  const contestants = new Map<System, Contestant>();
  try {
    if (typeof floor !== 'string') contestants.set('c', startContestant('c', floor.path, []));
    contestants.set('handover', startNodeContestant('handover', new URL('handover.ts', import.meta.url)));
    contestants.set('node-ipc', startNodeContestant('node-ipc', new URL('node-ipc.ts', import.meta.url)));
    const entries = entriesFor(contestants);
    await measure(entries, options);
    const rows = rowsOf(entries);
    const tables = [present(entries)];
    const notes = [READING, ...(typeof floor === 'string' ? [`c: skipped, ${floor}`] : [])];
    const text = [...tables.map(table), ...notes].join('\n\n');
    const skipped = typeof floor === 'string' ? ['c'] : [];
    return { text, tables, notes, charts: chartsOf(entries), expectations: expectationsOf(entries), rows, skipped };
  } finally {
    await Promise.all([...contestants.values()].map((contestant) => contestant.end()));
    if (typeof floor !== 'string') floor.remove();
  }
}

/** In the order they run: those to be compared one after the other. */
function entriesFor(contestants: ReadonlyMap<System, Contestant>): Entry[] {
  const entries: Entry[] = [];
  for (const mode of MODES) {
    for (const perMessage of SIZES) {
      for (const [system, contestant] of contestants) {
        // Node passes handles to another process only.
        if (system === 'node-ipc' && mode === 'one-process') continue;
        entries.push({ contestant, system, mode, perMessage, messages: 1, rounds: [] });
      }
    }
  }
  return entries;
}

async function measure(entries: readonly Entry[], { rounds, quick, progress }: BenchOptions): Promise<void> {
  const turnMs = quick ? TURN_MS.quick : TURN_MS.full;
  for (const [index, entry] of entries.entries()) {
    progress(`fd: warming up ${index + 1} of ${entries.length}`);
    await calibrate(entry, turnMs);
  }
  for (let round = 0; round < rounds; round++) {
    progress(`fd: round ${round + 1} of ${rounds}`);
    // Every other round backwards: nobody always runs in the wake of the same one.
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
      entry.rounds.push((await turn(entry)) / (entry.messages * entry.perMessage));
    }
  }
}

function turn({ contestant, mode, perMessage, messages }: Entry): Promise<number> {
  return contestant.run(`${mode} ${perMessage} ${messages}`);
}

/** Finds how many messages fill a turn; what it runs for that is the warm-up. */
async function calibrate(entry: Entry, turnMs: number): Promise<void> {
  for (;;) {
    const elapsedMs = (await turn(entry)) / 1e6;
    if (elapsedMs >= turnMs / 2 || entry.messages >= MAX_MESSAGES) {
      entry.messages = Math.max(1, Math.round((entry.messages * turnMs) / elapsedMs));
      return;
    }
    entry.messages *= 4;
  }
}

function entryOf(entries: readonly Entry[], system: System, { mode, perMessage }: Entry): Entry | undefined {
  return entries.find((entry) => entry.system === system && entry.mode === mode && entry.perMessage === perMessage);
}

function rowsOf(entries: readonly Entry[]): Row[] {
  return entries.map((entry) => {
    const { system, mode, perMessage, rounds } = entry;
    const c = entryOf(entries, 'c', entry);
    return { system, mode, perMessage, nsPerFd: spread(rounds), ratioToC: c ? medianRatio(rounds, c.rounds) : null };
  });
}

function present(entries: readonly Entry[]): string[][] {
  const header = [
    'ns per descriptor',
    'a message',
    'c',
    'handover',
    'node-ipc',
    'handover : c',
    'best : best',
    'node-ipc : handover',
  ];
  const lines = entries
    .filter(({ system }) => system === 'handover')
    .map((handover) => {
      const c = entryOf(entries, 'c', handover);
      const ipc = entryOf(entries, 'node-ipc', handover);
      return [
        handover.mode,
        String(handover.perMessage),
        ...[c, handover, ipc].map((entry) => (entry ? presentSpread(spread(entry.rounds)) : '-')),
        c ? figure(medianRatio(handover.rounds, c.rounds)) : '-',
        c ? figure(Math.min(...handover.rounds) / Math.min(...c.rounds)) : '-',
        ipc ? figure(medianRatio(ipc.rounds, handover.rounds)) : '-',
      ];
    });
  return [header, ...lines];
}

/** The sizes differ a hundredfold: a chart for each end. */
function chartsOf(entries: readonly Entry[]): Chart[] {
  return [1, 64].map((perMessage) => ({
    title: `ns per descriptor, ${perMessage} a message`,
    unit: 'ns',
    bars: entries
      .filter((entry) => entry.perMessage === perMessage)
      .map(({ system, mode, rounds }) => ({ name: `${system}, ${mode}`, value: spread(rounds) })),
  }));
}

const LIMITS = [
  { mode: 'one-process', perMessage: 1, c: 1.5 },
  { mode: 'one-process', perMessage: 64, c: 1.25 },
  { mode: 'one-process', perMessage: 253, c: 1.25 },
  { mode: 'two-process', perMessage: 64, c: 1.6 },
  { mode: 'two-process', perMessage: 253, c: 1.6 },
  { mode: 'two-process', perMessage: 64, ipc: 60 },
  { mode: 'two-process', perMessage: 1, ipc: 2 },
] as const;

function expectationsOf(entries: readonly Entry[]): Expectation[] {
  const rounds = (system: System, { mode, perMessage }: (typeof LIMITS)[number]): readonly number[] | undefined =>
    entries.find((it) => it.system === system && it.mode === mode && it.perMessage === perMessage)?.rounds;
  return LIMITS.flatMap((limit) => {
    const where = `${limit.mode}, ${limit.perMessage} a message`;
    const [c, handover, ipc] = [rounds('c', limit), rounds('handover', limit), rounds('node-ipc', limit)];
    if (handover && ipc && 'ipc' in limit) {
      return [atLeast(`node-ipc : handover, ${where}`, limit.ipc, medianRatio(ipc, handover), ' x')];
    }
    if (handover && c && 'c' in limit) {
      return [atMost(`handover : c, ${where}`, limit.c, medianRatio(handover, c), ' x')];
    }
    return [];
  });
}

// Two processes that wait for each other take half as long on one core as on two, where each wakes an idle one; the
// scheduler chooses, in each round anew. A ratio below 1 says that it chose worse for C: the best rounds are alike.
const READING =
  'handover : c is the median of the ratios round by round; best : best compares the fastest round of each, which the\n' +
  'placement of two processes on cores by the scheduler distorts least.';
