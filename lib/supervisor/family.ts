// The processes of a worker, as the kernel knows them: the one that was started leads a session and a process group, and
// what it starts is in them or descends from it.
import { allPids, hasEnded, processStat } from '../fd/proc.js';
import { sleep } from '../protocol/deadline.js';

/** Whether a process descends from `leader`, or it or an ancestor is of the process group or the session of that. */
export function isOfFamily(pid: number, leader: number): boolean {
  for (let at = pid; at > 1; ) {
    const stat = processStat(at);
    if (!stat) return false;
    if (at === leader || stat.group === leader || stat.session === leader) return true;
    at = stat.parent;
  }
  return false;
}

/** False: there is nobody to signal. */
export function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-leader, signal);
  } catch {
    return false;
  }
}

/** Whether a member of the process group has not ended yet. Zombies are members, too. */
function isGroupAlive(leader: number): boolean {
  if (!signalGroup(leader, 0)) return false;
  return allPids().some((pid) => {
    const stat = processStat(pid);
    return stat?.group === leader && !hasEnded(stat);
  });
}

const LOOK_INTERVAL = 50;

/**
 * Ends what is left of a process group whose leader has ended: SIGTERM, and after `timeout` ms SIGKILL. Resolves when that is
 * done; false: something was killed, whatever it was doing.
 */
export async function endGroup(leader: number, timeout: number): Promise<boolean> {
  if (!isGroupAlive(leader)) return true;
  signalGroup(leader, 'SIGTERM');
  for (const start = performance.now(); performance.now() - start < timeout; ) {
    await sleep(LOOK_INTERVAL);
    if (!isGroupAlive(leader)) return true;
  }
  signalGroup(leader, 'SIGKILL');
  return false;
}
