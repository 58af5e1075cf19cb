// The conventions by which a parent process announces passed sockets in the environment: systemd and its imitators,
// Server::Starter, einhorn. This file only reads variables, and touches no descriptor.
import { malformed } from '../resources/activated.js';

/** One announced descriptor. */
export interface Announced {
  readonly fd: number;
  /** Its name in LISTEN_FDNAMES, or one made from the variable and its number or address. */
  readonly name: string;
  /** The variable and its value, for messages: `LISTEN_FDS=2`. */
  readonly source: string;
  /** Whether the variables name this very process: then the descriptor need not be a listener. */
  readonly isCertain: boolean;
}

/** The process that reads the environment. */
export interface Reader {
  readonly pid: number;
  readonly parentPid: number;
  /** Whether LISTEN_PIDFDID is the inode of a pidfd of this process. */
  isOwnPidfd(inode: bigint): boolean;
}

/** The announcement of one convention. */
interface Announcement {
  readonly announced: readonly Announced[];
  /** Variables to remove once the descriptors are taken: a child must not take the announcement for its own. */
  readonly variables: readonly string[];
}

type Convention = (variables: NodeJS.ProcessEnv, reader: Reader) => Announcement | 'not for us' | undefined;

/** SD_LISTEN_FDS_START of sd_listen_fds(3). */
const FIRST_FD = 3;
/** Far more than any parent passes: a typo must not become a loop over a billion descriptors. */
const MAX_FD = 1_048_576;

const LISTEN = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_PIDFDID', 'LISTEN_FDNAMES'] as const;
const EINHORN = /^EINHORN_(FDS|FD_COUNT|FD_\d+|FD_FAMILY_\d+)$/;

/**
 * The descriptors that the environment announces to this process, each of them once.
 * @throws ERR_HANDOVER_ACTIVATION naming the variable and its value
 */
export function readConventions(variables: NodeJS.ProcessEnv, reader: Reader): Announcement {
  const byFd = new Map<number, Announced>();
  const used: string[] = [];
  for (const convention of CONVENTIONS) {
    const announcement = convention(variables, reader);
    // The LISTEN_FD of a parent whose LISTEN_FDS is for another process is for that process, too.
    if (announcement === 'not for us') return { announced: [], variables: [] };
    used.push(...(announcement?.variables ?? []));
    for (const announced of announcement?.announced ?? []) {
      if (!byFd.has(announced.fd)) byFd.set(announced.fd, announced);
    }
  }
  return { announced: [...byFd.values()], variables: used };
}

/** The names of all set variables of every convention, also of announcements for another process. */
export function activationVariables(variables: NodeJS.ProcessEnv): string[] {
  const fixed: readonly string[] = [...LISTEN, 'LISTEN_FD', 'SERVER_STARTER_PORT'];
  return Object.keys(variables).filter((name) => fixed.includes(name) || EINHORN.test(name));
}

/** Reads the convention of sd_listen_fds(3). `systemfd --no-pid` and the listenfd crate leave LISTEN_PID out. */
function fromListenFds(variables: NodeJS.ProcessEnv, { pid, isOwnPidfd }: Reader): ReturnType<Convention> {
  const { LISTEN_FDS, LISTEN_PID = '', LISTEN_PIDFDID = '', LISTEN_FDNAMES } = variables;
  if (LISTEN_FDS === undefined) return undefined;
  if (LISTEN_PID !== '' && toInteger('LISTEN_PID', LISTEN_PID, 1) !== pid) return 'not for us';
  if (LISTEN_PIDFDID !== '' && !isOwnPidfd(toInode(LISTEN_PIDFDID))) return 'not for us';
  const source = `LISTEN_FDS=${LISTEN_FDS}`;
  const count = toInteger('LISTEN_FDS', LISTEN_FDS, 0);
  const names = LISTEN_FDNAMES === undefined || LISTEN_FDNAMES === '' ? [] : LISTEN_FDNAMES.split(':');
  if (names.length > 0 && names.length !== count) {
    throw malformed(`LISTEN_FDNAMES=${LISTEN_FDNAMES}`, `${names.length} names for ${count} descriptors (${source})`);
  }
  const announced = Array.from({ length: count }, (_, i) => {
    const fd = FIRST_FD + i;
    return { fd, name: names[i] || `LISTEN_FD_${fd}`, source, isCertain: LISTEN_PID !== '' };
  });
  return { announced, variables: LISTEN };
}

/** Reads one descriptor by its number: `LISTEN_FD=3`. */
function fromListenFd({ LISTEN_FD }: NodeJS.ProcessEnv): ReturnType<Convention> {
  if (LISTEN_FD === undefined) return undefined;
  const fd = toInteger('LISTEN_FD', LISTEN_FD, 0);
  const announced = { fd, name: `LISTEN_FD_${fd}`, source: `LISTEN_FD=${LISTEN_FD}`, isCertain: false };
  return { announced: [announced], variables: ['LISTEN_FD'] };
}

/** Reads `127.0.0.1:8080=3;9090=4;/run/app.sock=5` of Server::Starter (start_server). A path may contain an equals sign. */
function fromServerStarter({ SERVER_STARTER_PORT: value }: NodeJS.ProcessEnv): ReturnType<Convention> {
  if (value === undefined) return undefined;
  const source = `SERVER_STARTER_PORT=${value}`;
  const announced = value
    .split(';')
    .filter(Boolean)
    .map((part): Announced => {
      const [, name, fd] = /^(.+)=(\d+)$/.exec(part) ?? [];
      if (name === undefined || fd === undefined)
        throw malformed(source, `"${part}" is not of the form address=descriptor`);
      return { fd: toInteger('SERVER_STARTER_PORT', fd, 0, value), name, source, isCertain: false };
    });
  return { announced, variables: ['SERVER_STARTER_PORT'] };
}

/** Reads EINHORN_FD_COUNT and EINHORN_FD_0 …; of einhorn before 0.5 EINHORN_FDS, a list with spaces. */
function fromEinhorn(variables: NodeJS.ProcessEnv, { parentPid }: Reader): ReturnType<Convention> {
  const { EINHORN_FD_COUNT, EINHORN_FDS, EINHORN_MASTER_PID } = variables;
  if (EINHORN_FD_COUNT === undefined && EINHORN_FDS === undefined) return undefined;
  // A child of einhorn's worker inherits the variables, but not the descriptors.
  if (EINHORN_MASTER_PID !== undefined && toInteger('EINHORN_MASTER_PID', EINHORN_MASTER_PID, 1) !== parentPid)
    return undefined;
  const used = Object.keys(variables).filter((name) => EINHORN.test(name));
  if (EINHORN_FD_COUNT === undefined) {
    const announced = (EINHORN_FDS ?? '')
      .split(' ')
      .filter(Boolean)
      .map((fd, i) => einhorn(i, 'EINHORN_FDS', fd));
    return { announced, variables: used };
  }
  const count = toInteger('EINHORN_FD_COUNT', EINHORN_FD_COUNT, 0);
  const announced = Array.from({ length: count }, (_, i) => {
    const { [`EINHORN_FD_${i}`]: fd } = variables;
    if (fd === undefined) throw malformed(`EINHORN_FD_COUNT=${EINHORN_FD_COUNT}`, `EINHORN_FD_${i} is not set`);
    return einhorn(i, `EINHORN_FD_${i}`, fd);
  });
  return { announced, variables: used };
}

function einhorn(index: number, variable: string, fd: string): Announced {
  const source = `${variable}=${fd}`;
  return { fd: toInteger(variable, fd, 0), name: `EINHORN_FD_${index}`, source, isCertain: false };
}

const CONVENTIONS: readonly Convention[] = [fromListenFds, fromListenFd, fromServerStarter, fromEinhorn];

function toInteger(variable: string, text: string, minimum: number, value: string = text): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= minimum && (/PID$/.test(variable) || number <= MAX_FD)) return number;
  throw malformed(`${variable}=${value}`, `"${text}" is not a whole number from ${minimum} on`);
}

function toInode(text: string): bigint {
  if (/^\d+$/.test(text)) return BigInt(text);
  throw malformed(`LISTEN_PIDFDID=${text}`, 'the value is not the number of an inode');
}
