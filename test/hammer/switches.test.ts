// `handover hammer` finds the switches from one process to the next, and triggers them.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Trigger } from '../../lib/hammer/trigger.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { identify } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { helloServer, listen, runHammer } from './helpers.js';

expectNoLeaks();
const programs = usePrograms();

describe('switches', () => {
  /** Answers as another process after each SIGUSR2 to this one. */
  async function changingServer(names: readonly string[]): Promise<string> {
    let current = 0;
    const change = (): void => {
      current++;
    };
    process.on('SIGUSR2', change);
    onTestFinished(() => {
      process.removeListener('SIGUSR2', change);
    });
    const server = createServer((_, response) => {
      const name = names[current] ?? 'too many';
      response.setHeader('x-pid', name).end(`served by ${name}, as always\n`);
    });
    return `http://127.0.0.1:${await listen(server)}/`;
  }

  test.each(['header:X-Pid', 'body:by (\\w+),'])('are found by %s and triggered by --every --exec', async (how) => {
    const url = await changingServer(['A', 'B', 'C', 'D']);
    const more = ['--every', '700ms', '--exec', `kill -USR2 ${process.pid}`, '--duration', '2s', '--connections', '3'];
    const { code, result, details } = await runHammer(programs, url, '--identify', how, ...more, '--think', '1ms');
    // As many as were triggered; the last one may come too late to be seen.
    const triggered = (details.triggers as readonly object[]).map((_, index) => ['A B', 'B C', 'C D'][index]);
    const found = result.switches.map(({ from, to }) => `${from} ${to}`);
    expect(found).toEqual(triggered.slice(0, Math.max(1, found.length)));
    expect(found.length).toBeGreaterThanOrEqual(triggered.length - 1);
    for (const each of result.switches) {
      expect(each.triggerToFirstAnswerMs).toBeGreaterThan(0);
      expect(each.atMs).toBeGreaterThan(each.triggeredAtMs ?? Number.POSITIVE_INFINITY);
    }
    expect((details.identities as { answers: number }[]).reduce((sum, { answers }) => sum + answers, 0)).toBe(
      result.requests.ok,
    );
    expect(code).toBe(0);
  });

  test('--signal identified signals the newest process, once in the middle', async () => {
    const url = await changingServer([String(process.pid), 'B']);
    const more = ['--signal', 'identified', '--identify', 'header:x-pid', '--duration', '600ms', '--connections', '2'];
    const { result, details } = await runHammer(programs, url, ...more, '--threads', '2');
    expect(result.switches).toMatchObject([{ from: String(process.pid), to: 'B' }]);
    expect(details.triggers).toEqual([{ atMs: expect.closeTo(300, -3) as number }]);
  });

  test('--signal takes a pid from a file', async () => {
    const file = join(privateFolder(), 'pid');
    writeFileSync(file, `${process.pid}\n`);
    const url = await changingServer(['A', 'B']);
    const more = ['--signal', `@${file}`, '--identify', 'header:x-pid', '--duration', '600ms', '--connections', '2'];
    expect((await runHammer(programs, url, ...more)).result.switches).toMatchObject([{ from: 'A', to: 'B' }]);
  });

  test('several processes that answer from the start are no switches', async () => {
    let count = 0;
    const server = createServer((_, response) => response.setHeader('x-pid', `worker ${count++ % 4}`).end());
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(
      programs,
      url,
      '--identify',
      'header:x-pid',
      '--requests',
      '100',
      '--connections',
      '2',
    );
    expect(result.switches).toEqual([]);
  });

  test('a command that ignores SIGTERM is ended with all it has started', async () => {
    const file = join(privateFolder(), 'pids');
    const exec = `trap '' TERM; sleep 60 & echo $! >${file}; wait; while :; do sleep 60; done`;
    const trigger = new Trigger(
      { exec, signalName: 'SIGUSR2' },
      () => 0,
      () => undefined,
    );
    trigger.start(0);
    await until(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'), { what: 'the command' });
    trigger.stop();
    await trigger.finished(50);
    expect(trigger.fired).toEqual([{ atMs: 0, error: 'ended with SIGKILL' }]);
    const pid = Number(readFileSync(file, 'utf8'));
    await until(() => identify(pid) === undefined, { what: `${pid} to end` });
  });

  test('a trigger that fails is told, and a failure', async () => {
    const more = [
      '--exec',
      'echo no such unit >&2; exit 3',
      '--duration',
      '300ms',
      '--connections',
      '1',
      '--allow-lost',
    ];
    const { code, details } = await runHammer(programs, await helloServer(), ...more);
    expect(details.triggers).toMatchObject([{ error: 'ended with exit code 3 no such unit' }]);
    expect(code).toBe(1);
  });
});
