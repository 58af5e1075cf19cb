// The commands of a supervisor's control socket: those of a single process, and those that need several workers.

import { VERSION } from '../fd/package.js';
import { changesBetween } from '../platform/release.js';
import type { AskedSupervisor } from '../process/asked.js';
import { type ControlCall, type ControlMethods, checked, givenUpBy, type Methods } from '../process/control.js';
import { questionMethods } from '../process/question.js';
import { QUESTIONS } from '../process/questions.js';
import { unprofiled } from '../process/supervisor-link.js';
import type {
  ControlAnswers,
  GenerationStatus,
  Plan,
  RollAnswer,
  Status,
  WorkerStatus,
} from '../protocol/control-commands.js';
import { sleep } from '../protocol/deadline.js';
import type { Params } from '../protocol/rpc.js';
import type { Supervisor } from './supervisor.js';

/** `end` ends the supervisor as a SIGTERM does; resolves when the last worker has drained. */
export function supervisorMethods(supervisor: Supervisor, control: string, end: () => Promise<unknown>): Methods {
  const methods: ControlMethods<'supervisor'> = {
    status: () => statusOf(supervisor, control),
    upgrade: (call) => upgrade(supervisor, call),
    async abort({ peer }) {
      const workers = await supervisor.abort(givenUpBy(peer));
      return workers.length === 0 ? {} : { phase: 'PREPARE', workers };
    },
    async scale({ params: { workers } }) {
      await supervisor.scale(workers);
      return { workers: supervisor.workerCount };
    },
    plan: () => planOf(supervisor),
    async drain({ params: { delay }, tell }) {
      if (delay > 0) {
        tell('phase', { phase: 'NOT_READY' });
        supervisor.announceLeaving();
        await sleep(delay);
      }
      tell('phase', { phase: 'DRAIN' });
      const start = performance.now();
      await end();
      return { durationMs: performance.now() - start };
    },
  };
  const questions = questionMethods(QUESTIONS, (asked) => asked.supervisor?.bind(undefined, viewOf(supervisor)));
  return { ...checked(methods), ...questions };
}

function viewOf(supervisor: Supervisor): AskedSupervisor {
  return {
    supervisor,
    resume: async () => outcomeOf(supervisor, await supervisor.resume()),
    rollBack: async () => outcomeOf(supervisor, await supervisor.rollBack()),
  };
}

/** Starts no worker to try the release: without a handover it could not listen where the others do. */
function planOf({ releases: { old, young }, listeners }: Supervisor): Plan {
  const kept = listeners.map(({ name, address }) => ({ name, address }));
  return {
    old: { command: old.print.command, cwd: old.print.cwd },
    new: { command: young.print.command, cwd: young.print.cwd },
    changes: changesBetween(old.print, young.print),
    listeners: { kept, added: [], removed: [], changed: [] },
    wasTried: false,
  };
}

async function upgrade(
  supervisor: Supervisor,
  { params: { ifChanged, profile }, tell }: ControlCall<'upgrade'>,
): Promise<ControlAnswers['upgrade']> {
  if (profile !== undefined) throw unprofiled();
  const outcomes = await supervisor.upgrade({ ifChanged }, ({ slot, pid, ms, generation }) =>
    tell('phase', {
      phase: `replaced by pid ${String(pid)} after ${String(ms)} ms`,
      worker: Number(slot),
      generation: Number(generation),
    }),
  );
  if (outcomes.length === 0)
    return { isUnchanged: true, pid: process.pid, generation: newest(await workersOf(supervisor)) };
  return outcomeOf(supervisor, outcomes);
}

async function outcomeOf(supervisor: Supervisor, workers: readonly Params[]): Promise<RollAnswer> {
  return { generation: newest(await workersOf(supervisor)), workers };
}

async function statusOf(supervisor: Supervisor, control: string): Promise<Status> {
  const [{ ageMs, phase, roll }, workers] = await Promise.all([supervisor.status(), workersOf(supervisor)]);
  const draining = workers.filter((worker) => worker.phase === 'superseded' || worker.phase === 'closing');
  return {
    kind: 'supervisor',
    version: VERSION,
    generation: newest(workers),
    pid: process.pid,
    ageMs: Number(ageMs),
    phase: String(phase),
    isInCharge: workers.some((worker) => worker.phase === 'in-charge' || worker.phase === 'serving'),
    listeners: supervisor.listeners,
    connections: workers.map(({ generation, pid, connections }) => ({ generation, pid, connections })),
    draining: draining.map(({ generation, pid, connections, ageMs: age }) => ({
      generation,
      pid,
      connections,
      ageMs: age,
    })),
    charges: supervisor.charges,
    control,
    workers,
    roll: roll as Status['roll'],
  };
}

async function workersOf(supervisor: Supervisor): Promise<WorkerStatus[]> {
  const { workers } = await supervisor.status();
  return (workers as readonly Params[]).map(({ pid, generation = 1, connections = 0, ageMs, state, isAware }) => ({
    generation: Number(generation),
    pid: Number(pid),
    connections: Number(connections),
    ageMs: Number(ageMs),
    // A worker that knows nothing of handovers never reports its state.
    phase: isAware === true ? String(state) : state === 'starting' ? 'serving' : String(state),
  }));
}

function newest(workers: readonly GenerationStatus[]): number {
  return Math.max(1, ...workers.map(({ generation }) => generation));
}
