// The seam to the operating system: everything that a handover asks of it besides descriptors. With an `Env` of their own,
// tests run both sides of a handover in one process.
import cluster from 'node:cluster';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { hasProcessEnded } from '../fd/pidfd.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { spawn } from './spawn.js';
import { stderrRoom, writeStderr } from './write-stderr.js';

/** The process to start as successor. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** The `argv[0]` of the process. @default `file` */
  readonly argv0?: string;
  readonly cwd: string;
  readonly variables: NodeJS.ProcessEnv;
}

/** Exit code or signal of an ended process, as node:child_process gives them. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that this one started. */
export interface StartedProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** Whether the process has ended, asked of the kernel now: `exited` resolves later. */
  hasEnded(): boolean;
  /** Signals the whole process group; after the process has ended only SIGKILL is sent. False: no process was left. */
  kill(signal: NodeJS.Signals): boolean;
  /** Lets this process end before the started one. */
  unref(): void;
}

export interface Env {
  readonly clock: Clock;
  readonly pid: number;
  readonly parentPid: number;
  readonly variables: NodeJS.ProcessEnv;
  /** The environment with which the process was started. */
  readonly startVariables: NodeJS.ProcessEnv;
  readonly argv: readonly string[];
  readonly argv0: string;
  readonly execPath: string;
  readonly execArgv: readonly string[];
  /** Whether this process has Node's IPC channel to its parent. */
  readonly hasIpc: boolean;
  readonly isClusterWorker: boolean;
  /** Whether this process is the primary of node:cluster and has workers now. */
  readonly hasClusterWorkers: boolean;
  readonly isWorkerThread: boolean;
  cwd(): string;
  /** Whether the path is a regular file that this process may execute. */
  isExecutable(file: string): boolean;
  /**
   * Starts a process in a group of its own, with these as its descriptors 2 and 3. Borrows the descriptors.
   * @throws the system's error
   */
  start(command: Command, stderr: number, channel: number): Promise<StartedProcess>;
  /** The descriptor of stderr. */
  readonly stderrFd: number;
  /** Writes or queues, and never waits. False: await {@link stderrRoom} before the next call. */
  writeStderr(bytes: Uint8Array): boolean;
  /** Resolves when the queue has room, or its reader has stalled. */
  stderrRoom(): Promise<void>;
}

/** The channel's descriptor in the successor: the first after stdio, so that Node finds no hole before it (FACTS N11). */
export const CHANNEL_FD = 3;

export const processEnv: Env = {
  clock: systemClock,
  pid: process.pid,
  parentPid: process.ppid,
  variables: process.env,
  startVariables: readStartVariables(),
  argv: process.argv,
  argv0: process.argv0,
  execPath: process.execPath,
  execArgv: process.execArgv,
  hasIpc: process.channel !== undefined,
  isClusterWorker: cluster.isWorker,
  get hasClusterWorkers() {
    return Object.keys(cluster.workers ?? {}).length > 0;
  },
  isWorkerThread: !isMainThread,
  cwd: () => process.cwd(),
  isExecutable,
  start: startProcess,
  stderrFd: 2,
  writeStderr,
  stderrRoom,
};

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/**
 * The environment block of the start, which the kernel keeps (proc_pid_environ(5)): changes to process.env and process.title
 * do not touch it (FACTS P6). It is read when this file is loaded, because a process that has dropped its privileges may not
 * read it. Without /proc: process.env as it is now, to which `--env-file` may have added variables.
 */
function readStartVariables(): NodeJS.ProcessEnv {
  try {
    return parseBlock(readFileSync('/proc/self/environ', 'utf8'));
  } catch {
    return { ...process.env };
  }
}

/** Parses NAME=value entries. Of several with one name the first counts, as for getenv(3). */
function parseBlock(block: string): NodeJS.ProcessEnv {
  const variables: NodeJS.ProcessEnv = {};
  for (const entry of block.split('\0')) {
    const at = entry.indexOf('=');
    if (at > 0) variables[entry.slice(0, at)] ??= entry.slice(at + 1);
  }
  return variables;
}

async function startProcess(command: Command, stderr: number, channel: number): Promise<StartedProcess> {
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: command.variables,
    ...(command.argv0 !== undefined && { argv0: command.argv0 }),
    // In a session and group of its own the successor outlives this process' terminal, and can be stopped with its children.
    detached: true,
    stdio: ['inherit', 'inherit', stderr, channel],
  });
  const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const pid = child.pid as number;
  return {
    pid,
    exited,
    hasEnded: () => hasProcessEnded(pid),
    kill(signal) {
      // The process was reaped. While its group has members, no other process or group gets the number, so SIGKILL is safe.
      if (signal !== 'SIGKILL' && (child.exitCode !== null || child.signalCode !== null)) return false;
      return killGroup(pid, signal);
    },
    unref: () => child.unref(),
  };
}

function killGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}
