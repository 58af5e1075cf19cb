// How supervisors say in the environment which sockets they pass along: systemd and its imitators, Server::Starter,
// einhorn. Nothing is touched here: names and values only.
import { malformed } from '../resources/activated.js';

/** One descriptor as a supervisor announces it. */
export interface Announced {
  readonly fd: number;
  /** As LISTEN_FDNAMES names it, or as it can be told from others. */
  readonly name: string;
  /** What said so, for messages: `LISTEN_FDS=2`. */
  readonly source: string;
  /** Whether the supervisor named this very process, and may pass along other things than listeners. */
  readonly isCertain: boolean;
}

/** Who reads the environment. */
export interface Reader {
  readonly pid: number;
  readonly parentPid: number;
  /** Whether LISTEN_PIDFDID, the inode of a pidfd, means this process. */
  isOwnPidfd(inode: bigint): boolean;
}

/** What one convention says; undefined where it says nothing, or to another process. */
interface Announcement {
  readonly announced: readonly Announced[];
  /** What is to be removed once the descriptors are taken: a child must not believe it is meant. */
  readonly variables: readonly string[];
}

type Convention = (variables: NodeJS.ProcessEnv, reader: Reader) => Announcement | 'not for us' | undefined;

/** SD_LISTEN_FDS_START of sd_listen_fds(3). */
const FIRST_FD = 3;
/** Far more than any supervisor passes: a typo must not become a loop over a billion descriptors. */
const MAX_FD = 1_048_576;

const LISTEN = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_PIDFDID', 'LISTEN_FDNAMES'] as const;
const EINHORN = /^EINHORN_(FDS|FD_COUNT|FD_\d+|FD_FAMILY_\d+)$/;

/**
 * What the environment announces to this process, each descriptor once.
 * @throws ERR_HANDOVER_ACTIVATION naming the variable and its value
 */
export function readConventions(variables: NodeJS.ProcessEnv, reader: Reader): Announcement {
  const byFd = new Map<number, Announced>();
  const used: string[] = [];
  for (const convention of CONVENTIONS) {
    const announcement = convention(variables, reader);
    // LISTEN_FD of the same supervisor is not for us, either.
    if (announcement === 'not for us') return { announced: [], variables: [] };
    used.push(...(announcement?.variables ?? []));
    for (const announced of announcement?.announced ?? []) {
      if (!byFd.has(announced.fd)) byFd.set(announced.fd, announced);
    }
  }
  return { announced: [...byFd.values()], variables: used };
}

/** Every variable of every convention that is set, whoever it is for. */
export function activationVariables(variables: NodeJS.ProcessEnv): string[] {
  const fixed: readonly string[] = [...LISTEN, 'LISTEN_FD', 'SERVER_STARTER_PORT'];
  return Object.keys(variables).filter((name) => fixed.includes(name) || EINHORN.test(name));
}

/** sd_listen_fds(3); without LISTEN_PID it is what systemfd --no-pid and the listenfd crate speak. */
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

/** One descriptor by its number: `LISTEN_FD=3`. */
function fromListenFd({ LISTEN_FD }: NodeJS.ProcessEnv): ReturnType<Convention> {
  if (LISTEN_FD === undefined) return undefined;
  const fd = toInteger('LISTEN_FD', LISTEN_FD, 0);
  const announced = { fd, name: `LISTEN_FD_${fd}`, source: `LISTEN_FD=${LISTEN_FD}`, isCertain: false };
  return { announced: [announced], variables: ['LISTEN_FD'] };
}

/** `127.0.0.1:8080=3;9090=4;/run/app.sock=5` (Server::Starter, start_server). A path may hold an equals sign. */
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

/** EINHORN_FD_COUNT and EINHORN_FD_0 …; EINHORN_FDS, a list with spaces, in versions before 0.5. */
function fromEinhorn(variables: NodeJS.ProcessEnv, { parentPid }: Reader): ReturnType<Convention> {
  const { EINHORN_FD_COUNT, EINHORN_FDS, EINHORN_MASTER_PID } = variables;
  if (EINHORN_FD_COUNT === undefined && EINHORN_FDS === undefined) return undefined;
  // A child of a worker has the variables and not the descriptors.
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
  throw malformed(`LISTEN_PIDFDID=${text}`, 'it is not the number of an inode');
}
