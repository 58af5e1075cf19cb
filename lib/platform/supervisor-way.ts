// How a process finds the supervisor that started it: by a descriptor it inherited, or, behind a wrapper that passed on none
// (npm, yarn, npx, tsx), at a socket. The variable goes through wrappers; what it says is checked with the kernel.
import { dial } from '../fd/dial.js';
import { closeFd, peerCredentials, setCloexec } from '../fd/index.js';
import { CHANNEL_FD, type Env } from './env.js';
import { isUnixStream } from './start-self.js';

/**
 * Tells a worker which of its descriptors leads to its supervisor, the supervisor's pid, and the path of a socket where it
 * answers: `3:4711:/tmp/handover-run-x/workers`; without the path from releases before.
 */
export const SUPERVISOR_VARIABLE = 'HANDOVER_SUPERVISOR';

export interface SupervisorWay {
  readonly fd: number;
  readonly supervisorPid: number;
  readonly path: string | undefined;
}

/** An open way. */
export interface SupervisorSocket {
  /** The caller's. */
  readonly fd: number;
  /** What else was meant for this process, such as the channel to its predecessor, has to be asked for. */
  readonly isDialled: boolean;
}

/** What the variable says; undefined where it is not set. */
export function parseSupervisorWay({ [SUPERVISOR_VARIABLE]: value }: NodeJS.ProcessEnv): SupervisorWay | undefined {
  const [, fd, pid, path] = /^(\d+):(\d+)(?::(.+))?$/s.exec(value ?? '') ?? [];
  return pid === undefined ? undefined : { fd: Number(fd), supervisorPid: Number(pid), path };
}

/** The way to the supervisor that started this process; undefined where none did, or it is gone. Removes the variable. */
export function openSupervisorWay(env: Env): SupervisorSocket | undefined {
  const way = parseSupervisorWay(env.variables);
  delete env.variables[SUPERVISOR_VARIABLE];
  if (!way) return undefined;
  const isInherited = isUnixStream(way.fd) && isFrom(way.supervisorPid, way.fd);
  if (isInherited && (env.parentPid === way.supervisorPid || way.path === undefined)) return inherited(way.fd);
  const dialled = way.path === undefined ? undefined : dialSupervisor(way.path, way.supervisorPid);
  if (dialled === undefined) return isInherited ? inherited(way.fd) : undefined;
  // The wrapper has a copy of it, which it keeps open when this process ends.
  if (isInherited) closeFd(inherited(way.fd).fd);
  return { fd: dialled, isDialled: true };
}

/** The listeners that came with it are for those who know no better: this process asks for its own. */
function inherited(fd: number): SupervisorSocket {
  setCloexec(fd);
  for (let listener = CHANNEL_FD; listener < fd; listener++) closeFd(listener);
  return { fd, isDialled: false };
}

/** A path that another supervisor has by now, in a process that got the variable from somewhere, leads to none of its own. */
function dialSupervisor(path: string, supervisorPid: number): number | undefined {
  const fd = dial(path);
  if (fd < 0) return undefined;
  if (isFrom(supervisorPid, fd)) return fd;
  closeFd(fd);
  return undefined;
}

/** A descriptor of the same number that is another one's channel, in a child that got the variable alone, is not it. */
function isFrom(supervisorPid: number, fd: number): boolean {
  const { pid } = peerCredentials(fd);
  // Out of sight, in a pid namespace above.
  return pid === supervisorPid || pid === 0;
}
