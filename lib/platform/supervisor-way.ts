// How a worker reaches the supervisor that started it: by an inherited descriptor, or by a socket where a wrapper (npm, yarn,
// npx, tsx) did not pass the descriptor on. Wrappers pass the variable on, and the kernel tells whether it is still true.
import { dial } from '../fd/dial.js';
import { closeFd, peerCredentials, setCloexec } from '../fd/index.js';
import { CHANNEL_FD, type Env } from './env.js';
import { isUnixStream } from './start-self.js';

/**
 * Variable for a worker: the descriptor that leads to its supervisor, the supervisor's pid, and the path of the supervisor's
 * socket, as in `3:4711:/tmp/handover-run-x/workers`. Older releases leave the path out.
 */
export const SUPERVISOR_VARIABLE = 'HANDOVER_SUPERVISOR';

export interface SupervisorWay {
  readonly fd: number;
  readonly supervisorPid: number;
  readonly path: string | undefined;
}

/** An open connection to the supervisor. */
export interface SupervisorSocket {
  /** The caller owns it. */
  readonly fd: number;
  /** Whether this process dialled: then it must ask for everything else, such as the channel to its predecessor. */
  readonly isDialled: boolean;
}

/** Reads the variable; undefined where it is not set, or malformed. */
export function parseSupervisorWay({ [SUPERVISOR_VARIABLE]: value }: NodeJS.ProcessEnv): SupervisorWay | undefined {
  const [, fd, pid, path] = /^(\d+):(\d+)(?::(.+))?$/s.exec(value ?? '') ?? [];
  return pid === undefined ? undefined : { fd: Number(fd), supervisorPid: Number(pid), path };
}

/**
 * Opens the connection to the supervisor that started this process; undefined where none did, or it is gone. Removes the
 * variable.
 */
export function openSupervisorWay(env: Env): SupervisorSocket | undefined {
  const way = parseSupervisorWay(env.variables);
  delete env.variables[SUPERVISOR_VARIABLE];
  if (!way) return undefined;
  const isInherited = isUnixStream(way.fd) && isFrom(way.supervisorPid, way.fd);
  if (isInherited && (env.parentPid === way.supervisorPid || way.path === undefined)) return inherited(way.fd);
  const dialled = way.path === undefined ? undefined : dialSupervisor(way.path, way.supervisorPid);
  if (dialled === undefined) return isInherited ? inherited(way.fd) : undefined;
  // The wrapper keeps its copy of the inherited descriptor open when this process ends, so the dialled one is used.
  if (isInherited) closeFd(inherited(way.fd).fd);
  return { fd: dialled, isDialled: true };
}

/** Closes the listeners below the descriptor: they are for programs without this package, and this process asks for its own. */
function inherited(fd: number): SupervisorSocket {
  setCloexec(fd);
  for (let listener = CHANNEL_FD; listener < fd; listener++) closeFd(listener);
  return { fd, isDialled: false };
}

/** Dials the supervisor. Refuses another supervisor that has the path by now: the variable of this process is then outdated. */
function dialSupervisor(path: string, supervisorPid: number): number | undefined {
  const fd = dial(path);
  if (fd < 0) return undefined;
  if (isFrom(supervisorPid, fd)) return fd;
  closeFd(fd);
  return undefined;
}

/** Whether the supervisor made this socket. A child that inherited the variable alone may have another one at the number. */
function isFrom(supervisorPid: number, fd: number): boolean {
  const { pid } = peerCredentials(fd);
  // The kernel says 0 for a process in a pid namespace above this one.
  return pid === supervisorPid || pid === 0;
}
