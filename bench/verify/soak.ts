// One soak: servers and clients up, warm-up, handovers and samples, everything down again, and what was found.
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { marked } from '../lib/process-id.mjs';
import type { Evidence } from './evidence.js';
import type { VerifyOptions } from './options.js';
import { dropsOf, listenCounters } from './proc.js';
import { type Signals, Subject } from './subject.js';
import { Target } from './target.js';

const MINUTE = 60_000;
/** V8 and the kernel's caches settle; a fifth of what is measured, at most two minutes. */
const WARM_UP = { part: 1 / 5, most: 2 * MINUTE };
/** Probation at its default, or less where handovers follow each other faster. */
const PROBATION = { most: 1_000, part: 1 / 5 };
const ALIVE_INTERVAL = 250;

export interface SoakView {
  /** Now and then; `measured` in milliseconds, negative in the warm-up, NaN before it. */
  progress(subjects: readonly Subject[], measured: number): void;
}

/** @throws Error a server did not start; nothing is left then */
export async function soak(options: VerifyOptions, out: string, view: SoakView, signals: Signals): Promise<Evidence> {
  const work = join(out, 'work');
  mkdirSync(work, { mode: 0o700 });
  try {
    const targets = await makeTargets(options, out, work);
    const before = listenCounters();
    const { subjects, measured, atListeners } = await serveAndEnd(targets, options, out, view, signals);
    const kernel = { before, after: listenCounters(), atListeners };
    const evidence = subjects.map((subject) => subject.evidence());
    const snapshots = subjects.flatMap((subject) => keepSnapshots(subject, out));
    const missingSnapshots = subjects.flatMap(({ target: { kind }, snapshots: { early, late } }) => [
      ...(early === undefined ? [`${kind}, early`] : []),
      ...(late === undefined ? [`${kind}, late`] : []),
    ]);
    return {
      targets: evidence,
      kernel,
      minutes: measured / MINUTE,
      rssLimit: options.rssLimit,
      snapshots,
      missingSnapshots,
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

interface Soaked {
  readonly subjects: readonly Subject[];
  /** Milliseconds. */
  readonly measured: number;
  readonly atListeners: number | undefined;
}

/** All that is started is ended, whatever happens. */
async function serveAndEnd(
  targets: readonly Target[],
  options: VerifyOptions,
  out: string,
  view: SoakView,
  signals: Signals,
): Promise<Soaked> {
  const { interrupted, hurry } = signals;
  const subjects: Subject[] = [];
  let measuredSince = Number.NaN;
  let measured = 0;
  let atListeners: number | undefined;
  const watching = setInterval(() => {
    const alive = marked(...subjects.map(({ target }) => target.mark));
    for (const [index, subject] of subjects.entries()) subject.sawAlive(alive[index]?.length ?? 0);
    view.progress(subjects, performance.now() - measuredSince);
  }, ALIVE_INTERVAL);
  try {
    await Promise.all(targets.map((target) => target.start(interrupted)));
    const duration = options.minutes * MINUTE;
    const warmUp = Math.min(WARM_UP.most, Math.max(duration * WARM_UP.part, 2 * options.every));
    for (const target of interrupted.aborted ? [] : targets) {
      const rate = target.kind === 'chain' || targets.length === 1 ? options.rate : options.rate / 3;
      subjects.push(new Subject(target, { rate, duration: duration + warmUp, out }));
    }
    measuredSince = performance.now() + warmUp;
    await phase('warmUp', warmUp, subjects, options.every, signals);
    measuredSince = performance.now();
    await phase('measure', duration, subjects, options.every, signals);
    measured = performance.now() - measuredSince;
  } finally {
    clearInterval(watching);
    await Promise.all(subjects.map((subject) => subject.endClients(hurry)));
    atListeners = dropsOf(targets.flatMap(({ ports }) => ports));
    await Promise.all(targets.map((target) => stopServer(target, subjects, hurry)));
  }
  return { subjects, measured, atListeners };
}

async function phase(
  name: 'warmUp' | 'measure',
  length: number,
  subjects: readonly Subject[],
  every: number,
  signals: Signals,
): Promise<void> {
  const from = performance.now();
  // Not all at the same time: two starts at once are another load than two in turn.
  const first = (index: number): number => from + every * (1 + index / subjects.length);
  const each = (subject: Subject, index: number): Promise<void> =>
    subject[name]({ first: first(index), every, until: from + length }, signals);
  await Promise.all(subjects.map(each));
}

async function makeTargets({ targets, app, every }: VerifyOptions, out: string, work: string): Promise<Target[]> {
  const probation = Math.round(Math.min(PROBATION.most, every * PROBATION.part));
  const ports = await freePorts(targets.length * 2);
  return targets.map((kind, index) => {
    const [port = 0, rawPort = 0] = ports.slice(index * 2);
    return new Target({
      kind,
      app,
      directory: join(work, kind),
      log: join(out, `log-${kind}.jsonl`),
      port,
      rawPort,
      probation,
    });
  });
}

/** Also one whose clients never began, as another server did not start. */
async function stopServer(target: Target, subjects: readonly Subject[], hurry: AbortSignal): Promise<void> {
  const subject = subjects.find((it) => it.target === target);
  await (subject?.stopServer(hurry) ?? target.stop(hurry));
}

/** Out of the way of what is looked through for leftovers. */
function keepSnapshots({ target, snapshots }: Subject, out: string): string[] {
  return Object.entries(snapshots).flatMap(([name, file]) => {
    if (file === undefined) return [];
    const kept = join(out, `heap-${target.kind}-${name}.heapsnapshot`);
    renameSync(file, kept);
    return [kept];
  });
}

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
