// A process above this one whose end takes all below with it, and which ends when this one does: npm as the main process
// of a service, an init that ends with its child as pid 1 of a container. By what /proc shows (FACTS P2, P5).
import { basename } from 'node:path';
import { childrenOf, isFirstPidNamespace, lineageOf, type Neighbour } from './process-table.js';

export interface Fatal {
  readonly process: Neighbour;
  /** Whether it is the process that was asked about. */
  readonly isSelf: boolean;
  /** What ends with it; a `service` is told of another main process where it listens. */
  readonly world: 'pid namespace' | 'container' | 'service';
}

const SHELLS = ['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'mksh', 'fish', 'busybox'];

/** Known to end when what they started ends. */
const WRAPPERS = new Set([
  ...SHELLS,
  ...['npm', 'npx', 'npm-cli.js', 'npx-cli.js', 'yarn', 'yarn.js', 'yarnpkg', 'pnpm', 'pnpm.cjs', 'pnpx', 'corepack'],
  ...['tini', 'tini-static', 'docker-init', 'dumb-init', 'catatonit', 'podman-init', 'init-stage1'],
  ...['su', 'sudo', 'doas', 'runuser', 'setpriv', 'env', 'timeout', 'nice', 'ionice', 'unshare', 'nsenter', 'bwrap'],
  ...['script', 'time', 'strace', 'stdbuf', 'setarch', 'cross-env', 'dotenv', 'dotenvx', 'tsx', 'ts-node', 'run-s'],
  ...['concurrently', 'foreman', 'honcho', 'overmind', 'hivemind', 'goreman'],
]);

/** Known to go on when one of those they started ends. */
const LASTING = new Set([
  ...['systemd', 'init', 'launchd', 'openrc-init', 'dinit', 'runit', 'runsvdir', 'runsv', 's6-svscan', 's6-supervise'],
  ...['supervisord', 'supervise', 'supervise-daemon', 'svscan', 'perpd', 'monit', 'circusd', 'my_init', 'god'],
  ...['cron', 'crond', 'atd', 'sshd', 'sshd-session', 'tmux', 'screen', 'login', 'dockerd', 'containerd', 'unitd'],
]);

/** Those that start a container in control groups of its own, and kill what is left in there when its first process ends. */
const RUNTIMES = /^(containerd-shim|conmon|crun|runc|lxc-start|systemd-nspawn)/;

/** The process whose end takes `pid` along; undefined where there is none, or nothing can be read. */
export function fatalAncestorOf(pid: number, variables: NodeJS.ProcessEnv): Fatal | undefined {
  const lineage = lineageOf(pid);
  const at = lineage.findIndex((process, i) => worldOf(process, lineage[i + 1], variables) !== undefined);
  const process = lineage[at];
  const world = process && worldOf(process, lineage[at + 1], variables);
  if (!process || !world || !endsWith(lineage.slice(0, at + 1))) return undefined;
  return { process, isSelf: at === 0, world };
}

/** What ends with this process. */
function worldOf(
  process: Neighbour,
  parent: Neighbour | undefined,
  variables: NodeJS.ProcessEnv,
): Fatal['world'] | undefined {
  if (process.pid === 1) return isFirstPidNamespace() ? undefined : 'pid namespace';
  // Several containers in one pid namespace; a process that was put into one later is in the control groups of its pid 1.
  if (process.parent === 0) {
    const first = lineageOf(1)[0];
    return first && !isFirstPidNamespace() && first.cgroup !== process.cgroup ? 'container' : undefined;
  }
  if (!parent || parent.cgroup === process.cgroup) return undefined;
  if (RUNTIMES.test(parent.name)) return 'container';
  // A scope does not end with any of its processes (systemd.scope(5)).
  const isService =
    parent.name === 'systemd' && /\.service$/m.test(process.cgroup.replace(/\.service\/.*$/gm, '.service'));
  if (!isService || variables.INVOCATION_ID === undefined) return undefined;
  // The main process, as systemd itself says from version 248 on.
  return (variables.SYSTEMD_EXEC_PID ?? String(process.pid)) === String(process.pid) ? 'service' : undefined;
}

/**
 * Whether the last of them ends when the first does. A program that is not known may be a wrapper; of two, or where it has
 * started others, one will go on.
 */
function endsWith(lineage: readonly Neighbour[]): boolean {
  let strangers = 0;
  for (const [i, process] of lineage.entries()) {
    const child = lineage[i - 1];
    if (!child) continue;
    const names = namesOf(process);
    if (names.some((name) => LASTING.has(name))) return false;
    // With job control a shell is somebody's, who goes on.
    if (names.some((name) => SHELLS.includes(name)) && process.hasTerminal && child.group !== process.group)
      return false;
    if (names.some((name) => WRAPPERS.has(name))) continue;
    if (++strangers > 1 || (process.pid !== 1 && (childrenOf(process.pid) ?? 1) > 1)) return false;
  }
  return true;
}

/** The program, and the script where it is an interpreter's; of a title like `npm start` its first word. */
function namesOf({ name, words }: Neighbour): string[] {
  const script = words.slice(1).find((word) => !word.startsWith('-'));
  return [name, words[0] ?? '', script ?? ''].map((word) => basename(word.split(' ', 1)[0] ?? '').replace(/^-/, ''));
}
