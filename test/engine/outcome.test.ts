// G8: whoever asked for a handover learns how it ended, in which phase, and whether the old process still serves; the
// diagnostics channels tell the same to everybody else.
import { describe, expect, it } from 'vitest';
import type { HandoverEvents, PhaseRecord } from '../../lib/index.js';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, server } from './engine.js';

expectNoLeaks();
const { chain } = useApps();

it('G8: a handover that worked: every phase with its start and its length, and who has what', async () => {
  const extra = server({
    options: { probation: { duration: 300 }, unclaimed: ['old'] },
    before: async ({ handover, create }) => {
      // The new release has no use for it.
      if (handover.generation === 1) await handover.listen(create('http'), { name: 'old', port: 0, host: '127.0.0.1' });
    },
    listen: { name: 'web', port: 0, host: '127.0.0.1' },
  });
  const { chain: processes, first } = await chain(extra);
  const start = Date.now();
  const outcome = await first.upgrade();
  const end = Date.now();
  const second = await processes.generation(2);
  expect(outcome).toMatchObject({ generation: 2, pid: second.pid, claimed: ['web'], unclaimed: ['old'] });
  expect(outcome.phases.map(({ name }) => name)).toEqual(['PREPARE', 'PROBATION', 'COMMIT']);
  let last: PhaseRecord | undefined;
  for (const phase of outcome.phases) {
    expect(phase.startedAt).toBeGreaterThanOrEqual(start);
    expect(phase.startedAt + phase.durationMs).toBeLessThanOrEqual(end + 2);
    // One ends where the next begins, in whole milliseconds of the wall clock.
    const gap = last === undefined ? 0 : phase.startedAt - (last.startedAt + last.durationMs);
    expect(gap).toBeGreaterThan(-2);
    expect(gap).toBeLessThan(50);
    last = phase;
  }
  await first.process.gone();

  type Event = [name: string, payload: HandoverEvents['phase'] & HandoverEvents['in-charge']];
  const names = (first.events as Event[]).map(([name, { phase }]) => (name === 'phase' ? phase : name));
  expect(names).toEqual([
    'listen',
    'listen',
    'in-charge',
    'PREPARE',
    'PROBATION',
    'COMMIT',
    'MIGRATE',
    'superseded',
    'DRAIN',
    'drained',
    'RETIRE',
  ]);
  const handoverId = expect.stringMatching(/^[0-9a-f-]{36}$/);
  expect(first.allSaid('handover:superseded')).toEqual([{ handoverId, generation: 1, successorPid: second.pid }]);
  expect(first.allSaid('handover:drained')).toEqual([
    { handoverId, generation: 1, moved: 0, ended: 0, cut: 0, cutConnections: [], durationMs: expect.any(Number) },
  ]);
  expect(await second.said('handover:in-charge')).toEqual({
    handoverId,
    generation: 2,
    claimed: ['web'],
    unclaimed: ['old'],
  });
  await second.close();
});

describe('G8: an error carries what is known of the successor', () => {
  it('its exit code and the end of its stderr', async () => {
    const { first } = await chain([
      server({ options: { probation: { duration: 0 } } }),
      server({
        before: () => {
          for (let i = 1; i <= 30; i++) process.stderr.write(`line ${i} of its last words\n`);
          process.exit(42);
        },
      }),
    ]);
    const failure = await failureOf(first);
    expect(failure).toMatchObject({
      name: 'HandoverError',
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'PREPARE',
      stillServing: true,
      exitCode: 42,
      exitSignal: null,
    });
    expect(failure.stderr?.split('\n')).toEqual(
      Array.from({ length: 20 }, (_, i) => `line ${i + 11} of its last words`),
    );
    expect(failure.message).toMatch(/exit code 42/);
    expect(failure.message).toContain('  | line 30 of its last words');
    const [failed] = first.allSaid('handover:failed') as HandoverEvents['failed'][];
    expect(failed).toMatchObject({
      generation: 1,
      code: failure.code,
      phase: 'PREPARE',
      stillServing: true,
      error: { message: failure.message },
    });
    await first.close();
  });

  it('the signal that killed it, and in probation the failure behind the failure', async () => {
    const { first } = await chain([
      server({ options: { probation: { duration: 2_000 } } }),
      server({ after: () => setTimeout(() => process.kill(process.pid, 'SIGSEGV'), 50) }),
    ]);
    const failure = await failureOf(first);
    expect(failure).toMatchObject({
      code: 'ERR_HANDOVER_PROBATION_FAILED',
      phase: 'PROBATION',
      exitCode: null,
      exitSignal: 'SIGSEGV',
      cause: { code: 'ERR_HANDOVER_SUCCESSOR_EXITED' },
    });
    expect(failure.message).toMatch(/the successor failed its probation: .*killed by SIGSEGV/);
    await first.close();
  });

  it('a program that is none of ours and just runs', async () => {
    const { first } = await chain(
      server({ options: { readyTimeout: 700, successor: { command: 'sleep', args: ['60'] } } }),
    );
    expect(await failureOf(first)).toMatchObject({
      code: 'ERR_HANDOVER_TIMEOUT',
      stillServing: true,
      exitSignal: 'SIGTERM',
    });
    expect(await first.run(({ children }) => children())).toEqual([]);
    await first.close();
  });
});
