// One server under soak with its clients: when it is handed over, what is sampled, and what was found in the end.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isAlive, type ProcessId } from '../lib/process-id.mjs';
import type { GenerationEnd, Sample, Series, TargetEvidence } from './evidence.js';
import { Load, type LoadResult } from './load.js';
import { listening, ownDescriptors, residentBytes, zombies } from './proc.js';
import { RawClients, type RawResult } from './raw-clients.js';
import { LEAST_SAMPLES, medianOf } from './slope.js';
import type { Answers, Target } from './target.js';
import { untilTime } from './until.js';

/**
 * Looks at one sample, and the pause between two: the fewest descriptors count, as a connection may just be closing. As many
 * looks as it takes until there are no more than in the sample before.
 */
const LOOKS = { least: 3, most: 10 };
const LOOK_PAUSE = 30;
/** With fewer than eight, a single odd one spoils the bound. */
const SAMPLES = Math.max(8, LEAST_SAMPLES);
const MINUTE = 60_000;
/** A server that does not write its heap is soaked without. */
const SNAPSHOT_TRIES = 3;
/** How long handovers on a busy machine are waited for, beyond the time that was asked for. */
const PATIENCE = 30_000;

export interface Signals {
  readonly interrupted: AbortSignal;
  /** Nothing is waited for any more. */
  readonly hurry: AbortSignal;
}

/** Milliseconds, and moments of `performance.now()`. */
export interface Schedule {
  readonly first: number;
  readonly every: number;
  readonly until: number;
}

export interface SubjectOptions {
  readonly rate: number;
  readonly duration: number;
  readonly out: string;
}

export class Subject {
  readonly target: Target;
  readonly load: Load;
  readonly snapshots: { early?: string; late?: string } = {};
  asked = 0;
  readonly #raw: RawClients;
  readonly #series = new Map<string, Sample[]>();
  readonly #alive = { most: 0, mostAtRest: 0 };
  #killed: readonly string[] = [];
  #loadResult: LoadResult | undefined;
  #loadProblem: string | undefined;
  #rawResult: RawResult | undefined;

  constructor(target: Target, { rate, duration, out }: SubjectOptions) {
    this.target = target;
    const [port, rawPort] = target.ports;
    const data = join(out, target.kind === 'chain' ? 'data.json' : `data-${target.kind}.json`);
    this.load = new Load({ port, ledger: target.ledger, rate, duration, data });
    this.#raw = new RawClients(rawPort);
  }

  /** Hands over again and again, until the early heap snapshot is there and the time is over. */
  async warmUp({ first, every, until }: Schedule, signals: Signals): Promise<void> {
    let tries = 0;
    await this.#cycle(first, every, signals, async () => {
      // Writing it takes memory, so not while memory is measured; in a chain that process is replaced right after it.
      if (this.snapshots.early === undefined && tries++ < SNAPSHOT_TRIES) await this.#snapshot('early', signals.hurry);
      else if (performance.now() >= until) return false;
      return true;
    });
  }

  /** The same, with a sample each time just before, when the process is as old as the last was. */
  async measure({ first, every, until }: Schedule, signals: Signals): Promise<void> {
    const since = performance.now();
    const latest = until + SAMPLES * every + PATIENCE;
    await this.#cycle(first, every, signals, async () => {
      const now = performance.now();
      // A soak too short for any bound goes on until there is one.
      const taken = Math.min(SAMPLES, ...[...this.#series.values()].map(({ length }) => length));
      if (now >= latest || (now >= until && this.#series.size > 0 && taken >= SAMPLES)) return false;
      await this.#sample(since);
      return true;
    });
    if (!signals.interrupted.aborted) await this.#snapshot('late', signals.hurry);
  }

  /** Calls `before` ahead of each handover; false ends it. */
  async #cycle(
    first: number,
    every: number,
    { interrupted, hurry }: Signals,
    before: () => Promise<boolean>,
  ): Promise<void> {
    const { target } = this;
    for (let next = first; ; ) {
      await untilTime(next, interrupted);
      if (interrupted.aborted || !(await before())) return;
      if (target.kind !== 'steady') {
        this.asked++;
        await target.handOver(hurry);
      }
      // At least half the time from the processes' first moment to the next handover, however long this one took.
      const sinceCharge = target.kind === 'steady' ? 0 : (target.inCharge?.inChargeAt ?? 0) + every / 2;
      next = Math.max(next + every, sinceCharge, performance.now());
    }
  }

  /** So many processes of it live at some moment. */
  sawAlive(count: number): void {
    this.#alive.most = Math.max(this.#alive.most, count);
  }

  async endClients(hurry: AbortSignal): Promise<void> {
    if (hurry.aborted) this.load.kill();
    hurry.addEventListener('abort', () => this.load.kill());
    const [load, raw] = await Promise.all([
      this.load.end().catch((error: Error) => {
        this.#loadProblem = error.message;
        return undefined;
      }),
      this.#raw.end(hurry),
    ]);
    this.#loadResult = load;
    this.#rawResult = raw;
  }

  /** Ends the server, once the clients are done. */
  async stopServer(hurry: AbortSignal): Promise<void> {
    this.#killed = await this.target.stop(hurry);
  }

  /** The newest sample of what is likeliest to grow, for those who look on. */
  get latest(): Sample | undefined {
    return [...this.#series.values()].at(-1)?.at(-1);
  }

  /** Once everything has ended. */
  evidence(): TargetEvidence {
    const { target } = this;
    const { atRest, atMost } = target.expected;
    return {
      kind: target.kind,
      load: this.#loadResult,
      loadProblem: this.#loadProblem,
      raw: this.#rawResult ?? { sent: 0, answered: 0, refused: 0, closed: 0, wrong: [] },
      handovers: {
        asked: this.asked,
        completed: Math.max(0, target.generations.length - 1),
        failures: target.failures,
      },
      generations: target.generations.map((it): GenerationEnd => {
        const { pid } = it.process;
        return { generation: it.generation, pid, exitCode: target.ended.get(it.generation)?.code };
      }),
      exit: target.exit,
      answered: this.#answered(),
      series: [...this.#series].map(([name, samples]): Series => ({ name, samples })),
      alive: { ...this.#alive, atRest, atMost },
      left: this.#left(),
    };
  }

  /** The last one's count, which holds those it was given, and what the others answered after they had given theirs. */
  #answered(): Answers | undefined {
    const { generations, ended } = this.target;
    const last = ended.get(generations.at(-1)?.generation ?? 0);
    if (last === undefined) return undefined;
    const total = { ...last.answered };
    for (const { generation } of generations.slice(0, -1)) {
      const late = ended.get(generation)?.late;
      total.http += late?.http ?? 0;
      total.raw += late?.raw ?? 0;
    }
    return total;
  }

  #left(): string[] {
    const { target } = this;
    return [
      ...this.#killed.map((process) => `process ${process}`),
      ...zombies(target.generations.map(({ process }) => process)).map((pid) => `zombie ${pid}`),
      ...filesIn(target.state).map((file) => `file ${file}`),
      ...listening(target.ports).map((port) => `listener at port ${port}`),
    ];
  }

  async #sample(measuredSince: number): Promise<void> {
    const { target } = this;
    const { inCharge } = target;
    // Nobody there: that is another check's business.
    if (inCharge === undefined || !isAlive(inCharge.process)) return;
    const alive = target.alive;
    this.#alive.mostAtRest = Math.max(this.#alive.mostAtRest, alive.length);
    const minutes = (performance.now() - measuredSince) / MINUTE;
    const roles = rolesOf(target, inCharge.process, alive);
    const pids = [...new Set(roles.flatMap(([, processes]) => processes.map(({ pid }) => pid)))];
    const looks: ReadonlyMap<number, Look>[] = [];
    const of = (processes: readonly ProcessId[], what: keyof Look): number[] =>
      looks.map((seen) => processes.reduce((sum, { pid }) => sum + (seen.get(pid)?.[what] ?? Number.NaN), 0));
    const isAsBefore = ([name, processes]: Role): boolean => {
      const before = this.#series.get(name)?.at(-1)?.descriptors ?? Number.POSITIVE_INFINITY;
      return !(Math.min(...of(processes, 'descriptors')) > before);
    };
    while (looks.length < LOOKS.least || (looks.length < LOOKS.most && !roles.every(isAsBefore))) {
      if (looks.length > 0) await pause(LOOK_PAUSE);
      looks.push(look(pids, target.ports));
    }
    for (const [name, processes] of roles) {
      const rssBytes = of(processes, 'rssBytes');
      // Died meanwhile.
      if (rssBytes.some(Number.isNaN)) continue;
      const sample = { minutes, rssBytes: medianOf(rssBytes), descriptors: Math.min(...of(processes, 'descriptors')) };
      this.#series.set(name, [...(this.#series.get(name) ?? []), sample]);
    }
  }

  async #snapshot(when: 'early' | 'late', hurry: AbortSignal): Promise<void> {
    const { inCharge, stays } = this.target;
    const process = stays ?? inCharge?.process;
    const file = process && (await this.target.snapshot(process, hurry));
    if (file !== undefined) this.snapshots[when] = file;
  }
}

type Role = readonly [name: string, processes: readonly ProcessId[]];

function rolesOf({ kind, stays }: Target, inCharge: ProcessId, alive: readonly ProcessId[]): readonly Role[] {
  return [
    ...(stays === undefined ? [] : [[`${kind}, the one that stays`, [stays]] as const]),
    ...(kind === 'steady'
      ? []
      : [[`${kind}, the one in charge`, [inCharge]] as const, [`${kind}, all`, alive] as const]),
  ];
}

type Look = Omit<Sample, 'minutes'>;

function look(pids: readonly number[], ports: readonly number[]): ReadonlyMap<number, Look> {
  const descriptors = ownDescriptors(pids, ports);
  return new Map(
    pids.map((pid, index) => [
      pid,
      { rssBytes: residentBytes(pid) ?? Number.NaN, descriptors: descriptors[index] ?? Number.NaN },
    ]),
  );
}

/** The files and sockets below a directory; relative. */
function filesIn(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true }) as string[];
  return names.filter((name) => !statSync(join(directory, name), { throwIfNoEntry: false })?.isDirectory());
}
