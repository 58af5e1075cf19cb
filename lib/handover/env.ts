// The seam to the operating system: what a handover asks of it besides descriptors. Tests drive both sides in one
// process by giving another one.
import { spawn } from 'node:child_process';
import cluster from 'node:cluster';
import { accessSync, constants } from 'node:fs';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { isMainThread } from 'node:worker_threads';
import { writeStderr } from './write-stderr.js';

/** What to start as successor. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
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
  readonly stderr: Readable;
  readonly exited: Promise<Exit>;
  /** Signals its whole process group; SIGKILL also what is left of it when it has ended. False: it is gone. */
  kill(signal: NodeJS.Signals): boolean;
  /** Neither it nor its stderr keeps this process alive any longer. */
  unref(): void;
}

export interface Env {
  readonly pid: number;
  readonly parentPid: number;
  readonly variables: NodeJS.ProcessEnv;
  readonly argv: readonly string[];
  readonly execPath: string;
  readonly execArgv: readonly string[];
  /** True where a parent talks to this process over Node's IPC. */
  readonly hasIpc: boolean;
  readonly isClusterWorker: boolean;
  /** As the primary of node:cluster, now. */
  readonly hasClusterWorkers: boolean;
  readonly isWorkerThread: boolean;
  cwd(): string;
  isExecutable(file: string): boolean;
  /** Starts a process of its own group with `channel` as its descriptor 3. @throws the system's error */
  start(command: Command, channel: number): Promise<StartedProcess>;
  /** The descriptor that is stderr. */
  readonly stderrFd: number;
  writeStderr(bytes: Uint8Array): void;
}

/** The channel's number in the successor: the first after stdio, so that Node finds no hole before it (FACTS N11). */
export const CHANNEL_FD = 3;

export const processEnv: Env = {
  pid: process.pid,
  parentPid: process.ppid,
  variables: process.env,
  argv: process.argv,
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
};

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function startProcess(command: Command, channel: number): Promise<StartedProcess> {
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: command.variables,
    // Its own group: it outlives this one's terminal, and can be stopped with all it started.
    detached: true,
    stdio: ['inherit', 'inherit', 'pipe', channel],
  });
  const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const pid = child.pid as number;
  return {
    pid,
    stderr: child.stderr as Readable,
    exited,
    kill(signal) {
      // Reaped: the number is still the group's while it has members, and nobody else is killed by it.
      if (signal !== 'SIGKILL' && (child.exitCode !== null || child.signalCode !== null)) return false;
      return killGroup(pid, signal);
    },
    unref() {
      child.unref();
      (child.stderr as Socket).unref();
    },
  };
}

function killGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}
