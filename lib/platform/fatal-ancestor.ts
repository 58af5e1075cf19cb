// Finds an ancestor that ends when this process does, and whose end kills the successor: npm as the main process of a service,
// an init as pid 1 of a container that ends with its child. It is recognised by what /proc shows (FACTS P2, P5).
import { basename } from 'node:path';
import { childrenOf, isFirstPidNamespace, lineageOf, type Neighbour } from './process-table.js';

export interface Fatal {
  readonly process: Neighbour;
  /** Whether `process` is the process that was asked about, and no ancestor of it. */
  readonly isSelf: boolean;
  /** The surroundings that end with `process`. A `service` does not end if systemd can be told of another main process. */
  readonly world: 'pid namespace' | 'container' | 'service';
}

const SHELLS = ['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'mksh', 'fish', 'busybox'];

/** Programs that end when the program that they started ends. */
const WRAPPERS = new Set([
  ...SHELLS,
  ...['npm', 'npx', 'npm-cli.js', 'npx-cli.js', 'yarn', 'yarn.js', 'yarnpkg', 'pnpm', 'pnpm.cjs', 'pnpx', 'corepack'],
  ...['tini', 'tini-static', 'docker-init', 'dumb-init', 'catatonit', 'podman-init', 'init-stage1'],
  ...['su', 'sudo', 'doas', 'runuser', 'setpriv', 'env', 'timeout', 'nice', 'ionice', 'unshare', 'nsenter', 'bwrap'],
  ...['script', 'time', 'strace', 'stdbuf', 'setarch', 'cross-env', 'dotenv', 'dotenvx', 'tsx', 'ts-node', 'run-s'],
  ...['concurrently', 'foreman', 'honcho', 'overmind', 'hivemind', 'goreman'],
]);

/** Programs that go on when a program that they started ends. */
const LASTING = new Set([
  ...['systemd', 'init', 'launchd', 'openrc-init', 'dinit', 'runit', 'runsvdir', 'runsv', 's6-svscan', 's6-supervise'],
  ...['supervisord', 'supervise', 'supervise-daemon', 'svscan', 'perpd', 'monit', 'circusd', 'my_init', 'god'],
  ...['cron', 'crond', 'atd', 'sshd', 'sshd-session', 'tmux', 'screen', 'login', 'dockerd', 'containerd', 'unitd'],
]);

/** Programs that start a container in control groups of its own, and kill the rest of it when its first process ends. */
const RUNTIMES = /^(containerd-shim|conmon|crun|runc|lxc-start|systemd-nspawn)/;

/**
 * The process that ends with `pid`, and whose end kills a successor of `pid`; undefined where there is none, or /proc does not
 * show it.
 */
export function fatalAncestorOf(pid: number, variables: NodeJS.ProcessEnv): Fatal | undefined {
  const lineage = lineageOf(pid);
  const at = lineage.findIndex((process, i) => worldOf(process, lineage[i + 1], variables) !== undefined);
  const process = lineage[at];
  const world = process && worldOf(process, lineage[at + 1], variables);
  if (!process || !world || !endsWith(lineage.slice(0, at + 1))) return undefined;
  return { process, isSelf: at === 0, world };
}

/** The surroundings that end with this process; undefined where none do. */
function worldOf(
  process: Neighbour,
  parent: Neighbour | undefined,
  variables: NodeJS.ProcessEnv,
): Fatal['world'] | undefined {
  if (process.pid === 1) return isFirstPidNamespace() ? undefined : 'pid namespace';
  // Several containers can share one pid namespace. A process that entered a container later has the control groups of its pid 1.
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
  // systemd names the main process in SYSTEMD_EXEC_PID from version 248 on.
  return (variables.SYSTEMD_EXEC_PID ?? String(process.pid)) === String(process.pid) ? 'service' : undefined;
}

/**
 * Whether the last process of the lineage ends when the first one does. One unknown program may be a wrapper; it counts as
 * lasting where it has other children, or is the second unknown one.
 */
function endsWith(lineage: readonly Neighbour[]): boolean {
  let strangers = 0;
  for (const [i, process] of lineage.entries()) {
    const child = lineage[i - 1];
    if (!child) continue;
    const names = namesOf(process);
    if (names.some((name) => LASTING.has(name))) return false;
    // A shell with job control (a terminal, the child in another group) is interactive, and goes on.
    if (names.some((name) => SHELLS.includes(name)) && process.hasTerminal && child.group !== process.group)
      return false;
    if (names.some((name) => WRAPPERS.has(name))) continue;
    if (++strangers > 1 || (process.pid !== 1 && (childrenOf(process.pid) ?? 1) > 1)) return false;
  }
  return true;
}

/** Names of the program: its executable, the script of an interpreter, and the first word of a title such as `npm start`. */
function namesOf({ name, words }: Neighbour): string[] {
  const script = words.slice(1).find((word) => !word.startsWith('-'));
  return [name, words[0] ?? '', script ?? ''].map((word) => basename(word.split(' ', 1)[0] ?? '').replace(/^-/, ''));
}
