// From what a soak found to verdicts: everything right passes, and each thing that is wrong fails its own check alone.
import { expect, it } from 'vitest';
import { checkAll } from '../../bench/verify/checks.js';
import type { Evidence, Sample, Series, TargetEvidence } from '../../bench/verify/evidence.js';
import type { LoadResult } from '../../bench/verify/load.js';
import { parseOptions } from '../../bench/verify/options.js';
import { writeReport } from '../../bench/verify/report.js';
import { temporaryFolder } from '../helpers/folders.js';

const MEGABYTE = 1e6;

function samples(of: (minutes: number) => Partial<Sample>): Sample[] {
  return Array.from({ length: 20 }, (_, minutes) => ({ minutes, rssBytes: 60e6, descriptors: 30, ...of(minutes) }));
}

const SERIES: Series = { name: 'chain, all', samples: samples(() => ({})) };

const LOAD: LoadResult = {
  requests: { ok: 1_000, lost: 0 },
  lostBy: { refused: 0, resetAfterWrite: 0 },
  connections: { opened: 50, closedByServer: 0 },
  latencyMs: { p50: 1, p99: 2, max: 3 },
  longestGapMs: 10,
  ledger: { executedTwice: 0, executedUnanswered: 0, gaps: 0, begunNotEnded: 0 },
  notSent: 0,
  ownFaults: 0,
  reconnectsForced: 0,
  losses: [],
};

const CHAIN: TargetEvidence = {
  kind: 'chain',
  load: LOAD,
  loadProblem: undefined,
  raw: { sent: 100, answered: 100, refused: 0, closed: 0, wrong: [] },
  handovers: { asked: 2, completed: 2, failures: [] },
  generations: [1, 2, 3].map((generation) => ({ generation, pid: 100 + generation, exitCode: 0 })),
  exit: 'exit code 0',
  answered: { http: 1_000, raw: 100 },
  series: [SERIES],
  alive: { most: 2, atMost: 2, mostAtRest: 1, atRest: 1 },
  left: [],
};

const RIGHT: Evidence = {
  targets: [CHAIN],
  kernel: {
    before: { ListenOverflows: 5, ListenDrops: 5 },
    after: { ListenOverflows: 5, ListenDrops: 5 },
    atListeners: 0,
  },
  minutes: 20,
  rssLimit: 5,
  snapshots: [],
  missingSnapshots: [],
};

const RISEN = { before: { ListenOverflows: 5, ListenDrops: 5 }, after: { ListenOverflows: 8, ListenDrops: 8 } };

function failures(evidence: Evidence): string[] {
  return checkAll(evidence).flatMap(({ name, verdict, reason }) => (verdict === 'FAIL' ? [`${name}: ${reason}`] : []));
}

const ofChain = (change: Partial<TargetEvidence>): Evidence => ({ ...RIGHT, targets: [{ ...CHAIN, ...change }] });
const ofLoad = (change: Partial<LoadResult>): Evidence => ofChain({ load: { ...LOAD, ...change } });
const ofRaw = (change: Partial<TargetEvidence['raw']>): Evidence => ofChain({ raw: { ...CHAIN.raw, ...change } });
const ofSeries = (of: (minutes: number) => Partial<Sample>): Evidence =>
  ofChain({ series: [{ ...SERIES, samples: samples(of) }] });

it('everything right passes every check, each with its number and its bound', () => {
  const checks = checkAll(RIGHT);
  expect(checks.map(({ name }) => name)).toEqual([
    'connections',
    'lost',
    'closed',
    'handovers',
    'exits',
    'counts',
    'executed',
    'memory, chain, all',
    'descriptors, chain, all',
    'processes',
    'left',
    'kernel',
  ]);
  for (const check of checks) expect(check).toMatchObject({ verdict: 'PASS', number: 0 });
});

it.each<[string, Evidence, RegExp]>([
  ['a refused raw connection', ofRaw({ refused: 2 }), /^connections: chain: 2 refused/],
  ['no port left for a client', ofLoad({ ownFaults: 1 }), /^connections: .*no port or descriptor/],
  ['a closed connection', ofLoad({ connections: { opened: 50, closedByServer: 1 } }), /^closed: chain: 1$/],
  ['a closed raw connection', ofRaw({ closed: 1 }), /^closed: chain: 1$/],
  ['a wrong raw answer', ofRaw({ wrong: ['"2 line 1" instead of "1 line 1"'] }), /^lost: chain: raw answer "2/],
  [
    'a failed handover',
    ofChain({ handovers: { asked: 3, completed: 2, failures: ['after generation 3: nobody took charge'] } }),
    /^handovers: chain: after generation 3/,
  ],
  ['no handover at all', ofChain({ handovers: { asked: 0, completed: 0, failures: [] } }), /^handovers: no handover/],
  [
    'a generation that was killed',
    ofChain({ generations: [{ generation: 1, pid: 101, exitCode: undefined }] }),
    /^exits: chain: generation 1 \(pid 101\) ended without a word/,
  ],
  ['a supervisor that crashed', ofChain({ exit: 'SIGSEGV' }), /^exits: chain: the first process ended with SIGSEGV/],
  [
    'one answer more than the client has',
    ofChain({ answered: { http: 1_001, raw: 100 } }),
    /^counts: chain: the client counts 1000 requests, the servers 1001/,
  ],
  ['a raw answer less', ofChain({ answered: { http: 1_000, raw: 99 } }), /^counts: .* 100 raw lines, the servers 99/],
  ['an unknown count', ofChain({ answered: undefined }), /^counts: chain: the servers' count is not known/],
  [
    'a request executed twice',
    ofLoad({ ledger: { executedTwice: 1, executedUnanswered: 0, gaps: 0, begunNotEnded: 0 } }),
    /^executed: chain: executedTwice 1$/,
  ],
  [
    'a gap in the ledger',
    ofLoad({ ledger: { executedTwice: 0, executedUnanswered: 0, gaps: 4, begunNotEnded: 0 } }),
    /^executed: chain: gaps 4$/,
  ],
  [
    'memory that grows by 6 MB a minute',
    ofSeries((minutes) => ({ rssBytes: 60e6 + 6 * MEGABYTE * minutes })),
    /^memory, chain, all: it grows: 6.00/,
  ],
  [
    'memory too restless to say',
    ofSeries((minutes) => ({ rssBytes: 60e6 + 80 * MEGABYTE * ((minutes * 7) % 5) })),
    /^memory, chain, all: not shown to be less/,
  ],
  [
    'a descriptor every other minute',
    ofSeries((minutes) => ({ descriptors: 30 + Math.floor(minutes / 2) })),
    /^descriptors, chain, all: they grow: 31 at first, 38 at last/,
  ],
  [
    'one descriptor more from the middle on',
    ofSeries((minutes) => ({ descriptors: minutes < 10 ? 30 : 31 })),
    /^descriptors, chain, all: (they grow|more than before): 30 at first, 31 at last/,
  ],
  [
    'one descriptor more soon after the beginning',
    ofSeries((minutes) => ({ descriptors: minutes < 3 ? 30 : 31 })),
    /^descriptors, chain, all: /,
  ],
  [
    'one descriptor more near the end',
    ofSeries((minutes) => ({ descriptors: minutes < 17 ? 30 : 31 })),
    /^descriptors, chain, all: more than before: 30 at first, 31 at last, 0.000/,
  ],
  [
    'descriptors too restless to say',
    ofSeries((minutes) => ({ descriptors: 30 + ((minutes * 7) % 5) })),
    /^descriptors, chain, all: not shown to stay/,
  ],
  [
    'three processes at once',
    ofChain({ alive: { ...CHAIN.alive, most: 3 } }),
    /^processes: chain: 3 at once, 2 are right/,
  ],
  [
    'a predecessor that stays',
    ofChain({ alive: { ...CHAIN.alive, mostAtRest: 2 } }),
    /^processes: chain: 2 at rest, 1 are right/,
  ],
  ['a file', ofChain({ left: ['file core'] }), /^left: chain: file core/],
  ['dropped connections', { ...RIGHT, kernel: { ...RISEN, atListeners: 3 } }, /^kernel: .* 3 at these listeners/],
  [
    'dropped connections, and nobody says whose',
    { ...RIGHT, kernel: { ...RISEN, atListeners: undefined } },
    /^kernel: ListenOverflows 3, ListenDrops 3/,
  ],
])('%s fails its check and no other', (_, evidence, reason) => {
  const failed = failures(evidence);
  expect(failed).toHaveLength(1);
  expect(failed[0]).toMatch(reason);
});

it('connections dropped at the listeners of others are theirs', () => {
  expect(failures({ ...RIGHT, kernel: { ...RISEN, atListeners: 0 } })).toEqual([]);
});

it('memory that grows by 4 MB a minute is within the bound', () => {
  expect(failures(ofSeries((minutes) => ({ rssBytes: 60e6 + 4 * MEGABYTE * minutes })))).toEqual([]);
});

it('a refused connection is also a lost request', () => {
  const names = failures(ofLoad({ lostBy: { refused: 2 } })).map((text) => text.split(':')[0]);
  expect(names).toEqual(['connections', 'lost']);
});

it('a lost request is lost, and one raw line without an answer too', () => {
  const lost = { requests: { ok: 1_000, lost: 1 }, lostBy: { refused: 0, resetAfterWrite: 1 } };
  expect(failures(ofLoad(lost))).toEqual(['lost: chain: 1 resetAfterWrite']);
  expect(failures(ofRaw({ sent: 101 }))).toEqual(['lost: chain: 1 raw lines not answered']);
});

it('too few samples, and a load without a result, pass nothing they should have measured', () => {
  const short = ofChain({ series: [{ ...SERIES, samples: SERIES.samples.slice(0, 4) }] });
  expect(failures(short).map((text) => text.split(':')[0])).toEqual(['memory, chain, all', 'descriptors, chain, all']);
  const silent = failures(ofChain({ load: undefined, loadProblem: 'handover hammer has no result' }));
  expect(silent.map((text) => text.split(':')[0])).toEqual(['connections', 'lost', 'closed', 'counts', 'executed']);
});

it('a heap snapshot that is not there is a line of the report', async () => {
  const out = temporaryFolder();
  const evidence = { ...RIGHT, missingSnapshots: ['chain, late'] };
  const checks = checkAll(evidence);
  const { text } = await writeReport({ options: parseOptions([]), evidence, checks, out, isInterrupted: false });
  expect(text).toContain('heap snapshot not there: chain, late');
});
