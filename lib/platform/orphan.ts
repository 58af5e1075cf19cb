// Refuses a handover where the end of this process would kill the successor, or leave it without a manager: in a container, as
// the main process of a service, under pm2. It refuses before any side effect (FACTS P2, P5).
import { basename } from 'node:path';
import { HandoverError } from '../errors.js';
import type { Env } from './env.js';
import { type Fatal, fatalAncestorOf } from './fatal-ancestor.js';
import { cgroupOf } from './process-table.js';

interface Keeper {
  readonly name: string;
  readonly isPresent: (env: Env, hasManager: boolean) => boolean;
  readonly why: string;
}

const KEEPERS: readonly Keeper[] = [
  {
    name: 'pid 1',
    isPresent: (env) => env.pid === 1,
    why: 'the container ends with pid 1, and the successor with it',
  },
  {
    name: 'systemd',
    // SYSTEMD_EXEC_PID names the main process (systemd 248), and the children of a shell inherit it. A successor has
    // NOTIFY_SOCKET only.
    isPresent: ({ variables, pid }, hasManager) =>
      !hasManager && (variables.SYSTEMD_EXEC_PID === String(pid) || variables.NOTIFY_SOCKET !== undefined),
    why: 'systemd ends the service with its main process, and cannot be told of a new one: set Type=notify and NotifyAccess=all in the unit',
  },
  {
    name: 'Server::Starter',
    isPresent: ({ variables }) => variables.SERVER_STARTER_GENERATION !== undefined,
    why: 'start_server starts the app again when this process exits, beside the successor; send it SIGHUP instead',
  },
  {
    name: 'einhorn',
    isPresent: ({ variables, parentPid }) => variables.EINHORN_MASTER_PID === String(parentPid),
    why: 'einhorn starts the app again when this process exits, beside the successor; upgrade by einhornsh instead',
  },
  {
    name: 'pm2',
    isPresent: ({ variables }) => variables.pm_id !== undefined,
    why: 'pm2 starts the app again when this process exits, beside the successor',
  },
  {
    name: 'a cluster primary',
    isPresent: (env) => env.isClusterWorker,
    why: 'the primary of node:cluster owns the listeners and does not know the successor',
  },
  {
    name: 'node:cluster, as the primary of workers',
    isPresent: (env) => env.hasClusterWorkers,
    why: 'the sockets that its workers share would not pass to the successor, which could not bind them (see handover run)',
  },
  {
    name: 'its main thread',
    isPresent: (env) => env.isWorkerThread,
    why: 'a successor is started, signalled and ended as a whole process, so the main thread hands over',
  },
  {
    name: 'a parent with an IPC channel',
    isPresent: (env) => env.hasIpc,
    why: 'the parent talks to this process over IPC, and a successor would not have this channel',
  },
];

const WHYS: { readonly [W in Fatal['world']]: string } = {
  'pid namespace':
    'the container ends with pid 1, that ends with this process, and the kernel would kill the successor',
  container: 'the container ends with its first process, that ends with this one, and the successor would be killed',
  service:
    'systemd ends the service with its main process, that ends with this one, and the successor would be killed: set Type=notify and NotifyAccess=all in the unit',
};

/**
 * Refuses where a successor of this process would be orphaned. `hasManager`: systemd can be told of the successor.
 * @throws ERR_HANDOVER_WOULD_ORPHAN
 */
export function refuseOrphan(env: Env, hasManager: boolean): void {
  const keeper = KEEPERS.find(({ isPresent }) => isPresent(env, hasManager));
  if (keeper) throw wouldOrphan(`this process is kept by ${keeper.name}: ${keeper.why}. Nothing was started`);
  const fatal = fatalTo(env, hasManager);
  if (fatal) throw wouldOrphan(`this process is kept by ${describe(fatal)}: ${WHYS[fatal.world]}. Nothing was started`);
}

/**
 * Refuses a process that dialled in to take over and would be killed with this one's fatal ancestor: it is no child of this
 * process, but may have the same ancestor. `pid` 0: the process lives in a pid namespace that this one cannot see.
 * @throws ERR_HANDOVER_WOULD_ORPHAN
 */
export function refuseSharedEnd(env: Env, hasManager: boolean, pid: number): void {
  const fatal = pid > 0 ? fatalTo(env, hasManager) : undefined;
  if (!fatal || (fatal.world !== 'pid namespace' && cgroupOf(pid) !== fatal.process.cgroup)) return;
  throw wouldOrphan(`the process that takes over would end with ${describe(fatal)}: ${WHYS[fatal.world]}`);
}

function fatalTo({ pid, variables }: Env, hasManager: boolean): Fatal | undefined {
  const fatal = fatalAncestorOf(pid, variables);
  return fatal?.world === 'service' && hasManager ? undefined : fatal;
}

const MAX_COMMAND = 80;

function describe({ process: { pid, words }, isSelf }: Fatal): string {
  // The folder of the program is left out: it can be so long that nothing else of the command would be shown.
  const [program = '', ...args] = words;
  const command = [program.startsWith('/') ? basename(program) : program, ...args].join(' ');
  const short = command.length > MAX_COMMAND ? `${command.slice(0, MAX_COMMAND)}…` : command;
  return isSelf ? `its own role as the first process (pid ${pid})` : `pid ${pid} (${short})`;
}

function wouldOrphan(message: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_WOULD_ORPHAN', `${message}; allowOrphan: true overrides`, {
    phase: 'PREPARE',
    stillServing: true,
  });
}
