// What `serve()` and `handover/auto` say on stderr by themselves: failures, one line each, and never twice.
import { rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AUTO } from '../auto/preloaded.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Program, usePrograms } from '../helpers/programs.js';
import { running } from '../supervisor/running.js';

expectNoLeaks();
const { start } = usePrograms();
const SAYS = new URL('fixtures/says.mjs', import.meta.url);

interface Setup {
  readonly log?: boolean;
  readonly env?: NodeJS.ProcessEnv;
}

type Start = (setup?: Setup) => Program;

const ways: readonly [string, Start][] = [
  ['serve()', ({ log, env } = {}) => start(SAYS, { env: { MARK: mark(), SERVE: JSON.stringify({ log }), ...env } })],
  [
    'handover/auto',
    ({ log, env } = {}) => {
      const HANDOVER_AUTO = JSON.stringify({ log, probation: { duration: 0 } });
      return start(SAYS, { env: { MARK: mark(), HANDOVER_AUTO, ...env }, execArgv: ['--import', AUTO] });
    },
  ],
];

function mark(): string {
  return join(privateFolder(), 'started');
}

/** What it said after a SIGUSR2, line by line, when it has ended. */
async function saidBy(program: Program): Promise<string[]> {
  await program.line(/^serves/);
  program.child.kill('SIGUSR2');
  await program.line(/^failed/);
  expect(await program.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  return program.stderr.split('\n').filter((line) => line !== '');
}

const failures = (lines: string[]): string[] => lines.filter((line) => line.includes('failed'));
const EXITED = /^handover\[\d+\]: the handover failed in PREPARE: .*exit code 3/;

describe.each(ways)('%s', (way, begin) => {
  it('says that a handover failed, and nothing else', async () => {
    expect(await saidBy(begin())).toEqual([expect.stringMatching(EXITED)]);
  });

  it('says that one was refused, and why', async () => {
    expect(await saidBy(begin({ env: { pm_id: '0' } }))).toEqual([
      expect.stringMatching(/^handover\[\d+\]: the handover failed in PREPARE: this process is kept by pm2/),
    ]);
  });

  it('says it once with the whole log', async () => {
    const lines = await saidBy(begin({ log: true }));
    expect(failures(lines)).toEqual([expect.stringMatching(EXITED)]);
    expect(lines).toContainEqual(expect.stringContaining('generation 1 is in charge'));
  });

  it('log: false says nothing', async () => {
    expect(await saidBy(begin({ log: false }))).toEqual([]);
  });

  it('without the addon says so at the start, and when asked', async () => {
    const env = { HANDOVER_PREBUILD: privateFolder() };
    expect(await saidBy(begin({ env }))).toEqual([
      expect.stringMatching(/^handover\[\d+\]: cannot hand over, because there is no addon for /),
      expect.stringMatching(/^handover\[\d+\]: the handover failed in its beginning: no addon for /),
    ]);
    const lines = await saidBy(begin({ env, log: true }));
    expect(lines[0]).toMatch(/cannot hand over, because there is no addon for /);
    expect(failures(lines)).toHaveLength(1);
    expect(lines).toContainEqual(expect.stringContaining('generation 1 is in charge'));
    expect(lines.at(-1)).toMatch(/generation 1 has drained/);
    expect(await saidBy(begin({ env, log: false }))).toEqual([]);
  });

  it.each([
    ['its replacement failed', false, /the handover failed in PREPARE: the successor ended/],
    ['none could be started', true, /the handover failed in .*: .*ENOENT/],
  ] as const)('in a worker of handover run that asked for it: %s', async (_, isGone, expected) => {
    const node = join(privateFolder(), 'node');
    symlinkSync(process.execPath, node);
    const program = way === 'serve()' ? [] : ['--import', AUTO];
    const env = {
      MARK: mark(),
      HANDOVER_AUTO: '{"probation":{"duration":0}}',
      ...(way === 'serve()' && { SERVE: '{}' }),
    };
    const command = [...program, SAYS.pathname];
    const { supervisor } = await running(start, ['--workers', '1'], { program: node, command, env });
    const [, pid] = await supervisor.line(/^serves (\d+)/);
    if (isGone) rmSync(node);
    process.kill(Number(pid), 'SIGUSR2');
    await supervisor.line(/^failed/);
    await supervisor.stop('SIGTERM');
    const lines = supervisor.stderr.split('\n').filter((line) => line.startsWith(`handover[${pid}]:`));
    expect(lines).toEqual([expect.stringMatching(expected)]);
  });
});

it('serve() says nothing that a log of the app’s own says already', async () => {
  const env = { MARK: mark(), SERVE: '{}', OWN_LOG: '1' };
  expect(failures(await saidBy(start(SAYS, { env })))).toEqual([expect.stringMatching(EXITED)]);
});
