// Checks before a successor is started, so that a handover that must fail has no side effect.
import { type ExecFileException, execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HandoverError } from '../errors.js';
import type { Command } from './env.js';

/** Tries the new release before it is started: arguments for its command (as `nginx -t`), or a function that throws. */
export type Check = readonly string[] | ((command: Command) => unknown);

const CHECK_TIMEOUT = 60_000;
const STDERR_BYTES = 65_536;

/** Runs the check, for at most 60 s if it is a command. @throws ERR_HANDOVER_CHECK_FAILED with its stderr, and the cause */
export async function runCheck(check: Check, command: Command): Promise<void> {
  try {
    if (typeof check === 'function') await check(command);
    else await runCommand(command, check);
  } catch (cause) {
    const { message, stderr } = cause as Error & { stderr?: string };
    const text = `the new release failed its check: ${message}`;
    throw new HandoverError('ERR_HANDOVER_CHECK_FAILED', text, { cause, phase: 'PREPARE', stillServing: true, stderr });
  }
}

function runCommand({ file, args, cwd, variables }: Command, extra: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { cwd, env: variables, timeout: CHECK_TIMEOUT, maxBuffer: STDERR_BYTES };
    execFile(file, [...args, ...extra], options, (error, _stdout, stderr) => {
      if (error) reject(failureOf(error, stderr.trimEnd()));
      else resolve();
    });
  });
}

/** Replaces Node's error, whose message and `cmd` hold the command line: its arguments may be secrets, and errors are logged. */
function failureOf({ code, signal, message }: ExecFileException, stderr: string): Error {
  const end = signal ? `killed by ${signal}` : typeof code === 'number' ? `exit code ${code}` : message;
  const said = stderr ? `\n${stderr.replace(/^/gm, '  | ')}` : '';
  return Object.assign(new Error(`${end}${said}`), { stderr });
}

/**
 * Checks that the cgroup has room for a second process as large as this one: both run side by side during the handover.
 * @throws ERR_HANDOVER_NO_MEMORY
 */
export function expectMemory(cgroupRoot: string = '/sys/fs/cgroup', rss: number = process.memoryUsage.rss()): void {
  const headroom = memoryHeadroom(cgroupRoot);
  if (headroom === undefined || headroom >= rss) return;
  const inMiB = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`;
  const message = `the cgroup has ${inMiB(headroom)} left and this process uses ${inMiB(rss)}; preflight.memory: false overrides`;
  throw new HandoverError('ERR_HANDOVER_NO_MEMORY', message, { phase: 'PREPARE', stillServing: true });
}

/** Bytes that a process' cgroup may still use below memory.max; undefined where there is no cgroup 2, or no limit. */
export function memoryHeadroom(root: string, membership: string = '/proc/self/cgroup'): number | undefined {
  try {
    const [, path = ''] = /^0::(.*)$/m.exec(readFileSync(membership, 'utf8')) ?? [];
    const read = (name: string): string => readFileSync(join(root, path, name), 'utf8').trim();
    const limit = read('memory.max');
    if (limit === 'max') return undefined;
    // The kernel frees inactive page cache when memory is short.
    const [, cache = '0'] = /^inactive_file (\d+)$/m.exec(read('memory.stat')) ?? [];
    return Number(limit) - Number(read('memory.current')) + Number(cache);
  } catch {
    return undefined;
  }
}
