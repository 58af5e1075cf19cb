// The seam to the operating system: what a handover asks of it besides descriptors. Tests drive both sides in one
// process by giving another one.
import cluster from 'node:cluster';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { hasProcessEnded } from '../fd/pidfd.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { spawn } from './spawn.js';
import { stderrRoom, writeStderr } from './write-stderr.js';

/** What to start as successor. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** What the process shall see as its own `argv[0]`. @default `file` */
  readonly argv0?: string;
  readonly cwd: string;
  readonly variables: NodeJS.ProcessEnv;
}

/** How a process ended, as child_process says it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process this one started. */
export interface StartedProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** Whether it has, as the kernel says at this moment: before `exited` can. */
  hasEnded(): boolean;
  /** Signals its whole process group; SIGKILL also what is left of it when it has ended. False: it is gone. */
  kill(signal: NodeJS.Signals): boolean;
  /** It keeps this process alive no longer. */
  unref(): void;
}

export interface Env {
  readonly clock: Clock;
  readonly pid: number;
  readonly parentPid: number;
  readonly variables: NodeJS.ProcessEnv;
  /** As they were when the process was started. */
  readonly startVariables: NodeJS.ProcessEnv;
  readonly argv: readonly string[];
  readonly argv0: string;
  readonly execPath: string;
  readonly execArgv: readonly string[];
  /** True where a parent talks to this process over Node's IPC. */
  readonly hasIpc: boolean;
  readonly isClusterWorker: boolean;
  /** As the primary of node:cluster, now. */
  readonly hasClusterWorkers: boolean;
  readonly isWorkerThread: boolean;
  cwd(): string;
  /** A file, and this process may execute it. */
  isExecutable(file: string): boolean;
  /** Starts a process of its own group, with these as its descriptors 2 and 3. @throws the system's error */
  start(command: Command, stderr: number, channel: number): Promise<StartedProcess>;
  /** The descriptor that is stderr. */
  readonly stderrFd: number;
  /** Never waits. False: {@link stderrRoom} first, before more. */
  writeStderr(bytes: Uint8Array): boolean;
  stderrRoom(): Promise<void>;
}

/** The channel's number in the successor: the first after stdio, so that Node finds no hole before it (FACTS N11). */
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
 * The block the kernel keeps (proc_pid_environ(5)): neither changes to process.env nor process.title touch it. Read at once,
 * because a process that drops its privileges later cannot. Where there is none, the variables as they are now, which
 * `--env-file` has added to.
 */
function readStartVariables(): NodeJS.ProcessEnv {
  try {
    return parseBlock(readFileSync('/proc/self/environ', 'utf8'));
  } catch {
    return { ...process.env };
  }
}

/** As getenv(3): of several of one name the first. */
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
    // Its own group: it outlives this one's terminal, and can be stopped with all it started.
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
      // Reaped: the number is still the group's while it has members, and nobody else is killed by it.
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
