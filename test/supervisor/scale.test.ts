// More workers and fewer, under load.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { expectUnharmed, fixture, keepAlive, replaced, running, stop } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

interface Result {
  readonly result?: { readonly workers: readonly { readonly connections: number; readonly pid: number }[] };
  readonly error?: string;
  readonly code?: string;
}

describe('the number of workers', () => {
  it('G2, G3: goes up and down by signals; a worker that leaves gives all connections to the others, busy ones too', async () => {
    const app = await running(start, ['--workers', '3']);
    const traffic = keepAlive(app.port, 30, ['/', '/slow', '/big']);
    const before = app.workers();
    await until(() => traffic.load.total > 90, { what: 'answers' });
    app.supervisor.child.kill('SIGTTOU');
    await app.supervisor.errorLine(/2 workers serve/, 30_000);
    expect(app.workers()).toHaveLength(2);
    app.supervisor.child.kill('SIGTTOU');
    await app.supervisor.errorLine(/1 worker serves/, 30_000);
    const [last = 0, ...rest] = app.workers();
    expect(rest).toEqual([]);
    expect(before).toContain(last);
    await traffic.load.answered(last, 60);
    app.supervisor.child.kill('SIGTTOU');
    await app.supervisor.errorLine(/"workers" must be an integer >= 1/);
    app.supervisor.child.kill('SIGTTIN');
    await app.supervisor.errorLine(/2 workers serve/, 30_000);
    await replaced(app, 2);
    await until(() => app.workers().length === 2, { what: 'the old ones to leave', timeout: 20_000 });
    await expectUnharmed(traffic);
    await stop(app);
  }, 90_000);

  it('G2, G3: a worker leaves right after it was put in charge, while the one before it still drains', async () => {
    const app = await running(start, ['--workers', '2'], { fixture: 'told.mjs', settle: 0 });
    const traffic = keepAlive(app.port, 12, ['/', '/slow']);
    app.supervisor.tell({ call: 'upgrade' });
    app.supervisor.tell({ call: 'scale', args: [1] });
    await app.supervisor.message('upgrade', 30_000);
    expect(await app.supervisor.message<Result>('scale', 30_000)).toEqual({ type: 'scale' });
    app.supervisor.tell({ call: 'status' });
    const { result } = await app.supervisor.message<Result>('status');
    await expectUnharmed(traffic);
    expect(result?.workers.map(({ connections }) => connections)).toEqual([12]);
    await stop(app);
  }, 60_000);

  it('G5: a worker that cannot start is not added', async () => {
    const app = await running(start, [], { fixture: 'told.mjs', command: [fixture('moody.mjs'), 'fails-at=1'] });
    app.supervisor.tell({ call: 'scale', args: [3] });
    expect(await app.supervisor.message<Result>('scale')).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    expect(app.workers()).toHaveLength(1);
    // One worker is all there is.
    app.supervisor.tell({ call: 'scaleBy', args: [-1] });
    expect(await app.supervisor.message<Result>('scaleBy')).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    await stop(app);
  });
});
