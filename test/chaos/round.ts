// Plays one schedule under the whole crowd of clients; then looks whether what is left is a whole server, and counts.
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Deferred } from '../../lib/protocol/deferred.js';
import type { Failure } from '../faults/client.js';
import { differences, type Holding, settledHolding } from '../faults/holdings.js';
import type { Said } from '../faults/log.js';
import { signal } from '../helpers/processes.js';
import { until } from '../helpers/until.js';
import { Crowd, now } from './crowd.js';
import { type Blow, type Evidence, excuse, judgeEnd, judgeQuiet } from './judge.js';
import { lookWhenQuiet, zombiesOf } from './look.js';
import { type Schedule, type Step, stepText } from './schedule.js';
import { Stage } from './stage.js';

/** A moment that does not come by then does not come. */
const MOMENT_TIMEOUT = 5_000;
const START_TIMEOUT = 30_000;
/** Longer than the longest answer takes, also where it waits for a process that is started again. */
const LAST_ANSWER = 15_000;
const END_TIMEOUT = 40_000;
/** What a whole server leaves in its directory, beside the harness' own. */
const STAYS = ['release.json', 'takeover.sock.lock', 'control.sock.lock'];

export interface RoundResult {
  readonly schedule: Schedule;
  readonly upgrades: { readonly tried: number; readonly succeeded: number };
  readonly requests: number;
  readonly excused: readonly { readonly failure: Failure; readonly why: string }[];
  readonly losses: readonly Failure[];
  readonly twice: readonly string[];
  readonly splits: readonly string[];
  readonly left: readonly string[];
  /** Everything else that is not as it should be. */
  readonly wrong: readonly string[];
  /** Each step as it went. */
  readonly trace: readonly string[];
  readonly story: string;
  /** All that its processes said. */
  readonly said: readonly Said[];
  readonly durationMs: number;
}

/** What a server holds after a clean handover: told by the schedule without steps, which comes first. */
export type Reference = Deferred<Holding | undefined>;

export class Round {
  readonly #schedule: Schedule;
  readonly #reference: Reference;
  readonly #stage: Stage;
  readonly #crowd: Promise<Crowd>;
  readonly #trace: string[] = [];
  readonly #splits: string[] = [];
  readonly #left: string[] = [];
  readonly #wrong: string[] = [];
  readonly #begun = now();
  #tried = 0;
  #rolled = 0;
  /** All were told to end. */
  #hasEnded = false;
  /** Lines that came before it are of an earlier step. */
  #cursor = 0;

  constructor(schedule: Schedule, reference: Reference) {
    this.#schedule = schedule;
    this.#reference = reference;
    this.#stage = new Stage(schedule.mode, schedule.workers);
    this.#crowd = this.#open();
  }

  async run(): Promise<RoundResult> {
    const crowd = await this.#crowd.catch((error: Error): undefined => {
      this.#wrong.push(error.message);
    });
    try {
      if (crowd) await this.#play();
      if (crowd) await this.#epilogue(crowd);
    } catch (error) {
      this.#wrong.push(error instanceof Error ? error.message : String(error));
    }
    if (this.#schedule.steps.length === 0) this.#reference.resolve(undefined);
    await crowd?.stop(LAST_ANSWER);
    this.#judgeEnds();
    const left = await this.#stage.end();
    if (this.#hasEnded) this.#left.push(...left);
    return this.#result(crowd);
  }

  async #open(): Promise<Crowd> {
    await this.#ready();
    const { port, directory } = this.#stage;
    const crowd = new Crowd(randomUUID().slice(0, 8), port);
    crowd.begin({ kind: 'tcp', port }, { kind: 'unix', path: join(directory, 'web.sock') });
    return crowd;
  }

  /** Starts what serves first, or again where nobody is left. */
  async #ready(): Promise<void> {
    const stage = this.#stage;
    stage.leastSlots = stage.workers;
    const from = stage.log.all.length;
    await stage.start();
    const slots = new Set<unknown>();
    const wanted = stage.isSupervised ? stage.workers : 1;
    const all = stage.log.when((said) => {
      if (said.event === 'ready' && stage.log.all.indexOf(said) >= from) slots.add(said.pid);
      return slots.size >= wanted;
    });
    const late = pause(START_TIMEOUT, 'late', { ref: false });
    if ((await Promise.race([all, late])) === 'late') throw new Error(`nobody serves after ${START_TIMEOUT} ms`);
  }

  async #play(): Promise<void> {
    for (const step of this.#schedule.steps) {
      const at = Math.round(now() - this.#begun);
      const note = await this.#do(step);
      this.#trace.push(`${String(at).padStart(6)}  ${stepText(step)}${note === '' ? '' : `  (${note})`}`);
      // What comes next would only tell the same again.
      if (this.#splits.length + this.#wrong.length > 0) return;
    }
  }

  /** @returns what came of it, for the trace */
  async #do(step: Step): Promise<string> {
    const stage = this.#stage;
    if (step.do === 'quiet') return this.#quiet();
    if (step.do === 'wait') {
      await pause(step.ms);
      return '';
    }
    if (step.do === 'until') return this.#until(step.moment);
    this.#cursor = stage.log.all.length;
    switch (step.do) {
      case 'kill':
      case 'term':
      case 'stop':
        return stage.hit(step.do, step.role, step.nth, step.ms);
      case 'release':
        stage.release(step.kind);
        return `${stage.version}`;
      case 'start':
        this.#tried += 1;
        await stage.start();
        return '';
      case 'upgrade':
        this.#tried += 1;
        return stage.isSupervised ? this.#ask('upgrade') : this.#signalled('SIGUSR2');
      case 'roll':
        this.#tried += 1;
        return this.#signalled('SIGHUP');
      case 'scale':
        if (step.by < 0) stage.leastSlots = Math.max(1, stage.leastSlots - 1);
        return this.#signalled(step.by > 0 ? 'SIGTTIN' : 'SIGTTOU');
      case 'resume':
        return this.#ask('resume');
      case 'rollback':
        return this.#ask('rollback');
      case 'prepare':
        this.#tried += 1;
        return this.#signalled('SIGIO');
      case 'commit':
        return this.#signalled('SIGPWR');
      case 'discard':
        return this.#signalled('SIGURG');
    }
  }

  /** The supervisor, or the one in charge. */
  #signalled(name: NodeJS.Signals): string {
    const stage = this.#stage;
    const id = stage.isSupervised ? stage.supervisor : stage.find('in-charge', 0)?.id;
    if (!id || !signal(id, name)) return 'nobody to ask';
    return String(id.pid);
  }

  /** What it answers comes later. */
  #ask(method: string): string {
    this.#stage.call(method).then(
      () => {
        if (method === 'upgrade') this.#rolled += 1;
        this.#trace.push(`        ${method} succeeded`);
      },
      (error: Error) => this.#trace.push(`        ${method}: ${error.message}`),
    );
    return '';
  }

  async #until(moment: string): Promise<string> {
    const { log } = this.#stage;
    const comes = log
      .when((said) => {
        if (log.all.indexOf(said, this.#cursor) < 0) return false;
        return said.event === moment || said.phase === moment || (said.event === 'frame' && said.name === moment);
      })
      .then(({ pid }) => String(pid));
    return Promise.race([comes, pause(MOMENT_TIMEOUT, 'does not come', { ref: false })]);
  }

  /** Waits until nothing is under way, and judges. */
  async #quiet(version?: number): Promise<string> {
    const stage = this.#stage;
    const { late, quiet } = await lookWhenQuiet(stage, version);
    if (late !== undefined) (late.includes('in-charge') ? this.#splits : this.#wrong).push(late);
    if (quiet === undefined) return this.#nobody();
    const { splits, wrong } = judgeQuiet(quiet);
    this.#splits.push(...splits);
    this.#wrong.push(...wrong);
    const zombies = (): number[] => zombiesOf(stage.living.map(({ pid }) => pid));
    await until(() => zombies().length === 0, { what: 'zombies to go', timeout: 2_000, interval: 50 }).catch(() =>
      this.#left.push(...zombies().map((pid) => `zombie ${pid}`)),
    );
    return `${quiet.seen.length} alive`;
  }

  /** The schedule ended all who could serve; or somebody did not serve who could. */
  async #nobody(): Promise<string> {
    if (!this.#stage.isInOutage) this.#wrong.push('nobody serves, though somebody was left who could');
    // With a release that can.
    this.#stage.release('good');
    await this.#ready();
    return 'nobody was left; started again';
  }

  /** What is left is a whole server: it can be replaced once more, holds what it should, and ends well. */
  async #epilogue(crowd: Crowd): Promise<void> {
    if (this.#splits.length + this.#wrong.length > 0) return;
    const stage = this.#stage;
    stage.release('good');
    this.#trace.push(`${String(Math.round(now() - this.#begun)).padStart(6)}  the last upgrade`);
    await this.#lastUpgrade();
    await this.#quiet(stage.version);
    await crowd.stop(LAST_ANSWER);
    await this.#compareHoldings();
    await this.#endAll();
  }

  async #lastUpgrade(): Promise<void> {
    const stage = this.#stage;
    this.#tried += 1;
    if (stage.isSupervised) {
      await stage.call('upgrade');
      this.#rolled += 1;
      return;
    }
    if (stage.mode === 'takeover') await stage.start();
    else this.#signalled('SIGUSR2');
    const isNew = (): boolean => stage.cast.having('in-charge').some(({ version }) => version === stage.version);
    await until(isNew, { what: 'the last upgrade to succeed', timeout: START_TIMEOUT, interval: 20 });
  }

  async #compareHoldings(): Promise<void> {
    for (const { pid } of this.#stage.cast.having('in-charge')) {
      const holding = await settledHolding(pid);
      if (this.#schedule.steps.length === 0) this.#reference.resolve(holding);
      const lines = differences((await this.#reference.promise) ?? holding, holding);
      this.#left.push(...lines.map((line) => `in ${pid}: ${line}`));
    }
  }

  async #endAll(): Promise<void> {
    const stage = this.#stage;
    const last = stage.cast.living;
    this.#hasEnded = true;
    for (const member of last) member.toldToEndAt = now();
    const ids = stage.supervisor ? [stage.supervisor] : last.flatMap(({ id }) => id ?? []);
    for (const id of ids) signal(id, 'SIGTERM');
    await until(() => stage.living.length === 0, { what: 'the last to end', timeout: END_TIMEOUT, interval: 20 });
    await pause(50);
    for (const { pid, exitCode } of last)
      if (exitCode !== 0) this.#wrong.push(`${pid} ended with ${exitCode ?? 'no word'} after SIGTERM`);
    if (stage.isSupervised) {
      const { code, signal: name } = (await stage.newest?.exit) ?? { code: null, signal: null };
      if (code !== 0) this.#wrong.push(`the supervisor ended with ${name ?? code} after SIGTERM`);
    }
    const files = readdirSync(stage.directory).filter((name) => !STAYS.includes(name));
    this.#left.push(...files.map((name) => `file ${name}`));
  }

  #judgeEnds(): void {
    for (const member of this.#stage.cast.members.values()) {
      if (member.exitCode === undefined && member.isAlive) continue;
      const { pid, wasInCharge, exitCode, mayHaveDied, isGivenUp } = member;
      this.#wrong.push(...judgeEnd({ pid, wasInCharge, exitCode, mayHaveDied, isGivenUp }));
    }
  }

  #evidence(): Evidence {
    const { blows, outages, log, cast } = this.#stage;
    const begun = new Set(log.all.filter(({ event }) => event === 'begin').map(({ id }) => id));
    const accepts = log.all.filter(({ event }) => event === 'accept');
    return {
      blows,
      outages,
      hasBegun: (id) => begun.has(id),
      acceptedBy: ({ port, opened, at }) =>
        accepts
          .filter((said) => said.port === port && said.at >= opened - 1 && said.at <= at + 1)
          .map(({ pid }) => pid),
      diedWith: (failure) => log.diedWith(failure),
      hasFailed: (pid) => cast.members.get(pid)?.wasInCharge === false,
      isStranded: (pid, at) => this.#isStranded(pid, at),
      isBlamed: (pid) => cast.members.get(pid)?.isBlamed ?? false,
    };
  }

  #isStranded(pid: number, at: number): boolean {
    const { blows, log, cast } = this.#stage;
    const isKilled = ({ what, pid: own }: Blow): boolean =>
      what === 'killed' || (what === 'stopped' && (cast.members.get(own)?.isBlamed ?? false));
    const last = log.all.findLast((said) => said.pid === pid && said.event === 'superseded' && said.at < at);
    const blow = blows.find(
      (each) => isKilled(each) && each.pid === last?.successorPid && each.at > (last?.at ?? 0) && each.at < at,
    );
    if (!blow) return false;
    return !log.all.some((said) => said.pid === pid && said.event === 'in-charge' && said.at > blow.at && said.at < at);
  }

  #result(crowd: Crowd | undefined): RoundResult {
    const { log, cast } = this.#stage;
    this.#stage.settle();
    const evidence = this.#evidence();
    const excused: { failure: Failure; why: string }[] = [];
    const losses: Failure[] = [];
    const twice = log.begunTwice();
    for (const failure of crowd?.failures ?? []) {
      const why = excuse(failure, evidence);
      if (failure.kind === 'twice') twice.push(`${failure.id}: ${failure.detail}`);
      else if (why === undefined) losses.push(failure);
      else excused.push({ failure, why });
    }
    this.#splits.push(...cast.overlaps);
    return {
      schedule: this.#schedule,
      upgrades: {
        tried: this.#tried,
        succeeded: log.all.filter(({ event }) => event === 'resolved').length + this.#rolled,
      },
      requests: crowd?.requests ?? 0,
      ...{ excused, losses, twice, splits: this.#splits, left: this.#left, wrong: this.#wrong, trace: this.#trace },
      said: log.all,
      story: `${log.story(log.all[0]?.pid ?? 0)}\n${this.#stage.stderr.replace(/^/gm, '  | ')}`,
      durationMs: Math.round(now() - this.#begun),
    };
  }
}
