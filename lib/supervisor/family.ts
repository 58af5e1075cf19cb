// The processes of a worker, as the kernel knows them: the started process leads a session and a process group; its
// children are in these or descend from it.
import { allPids, hasEnded, processStat } from '../fd/proc.js';
import { sleep } from '../protocol/deadline.js';

/** Whether a process descends from `leader`, or it or an ancestor is in the process group or session of `leader`. */
export function isOfFamily(pid: number, leader: number): boolean {
  for (let at = pid; at > 1; ) {
    const stat = processStat(at);
    if (!stat) return false;
    if (at === leader || stat.group === leader || stat.session === leader) return true;
    at = stat.parent;
  }
  return false;
}

/** False: the group has no process to signal. */
export function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-leader, signal);
  } catch {
    return false;
  }
}

/** Whether a process of the group still runs. The kernel counts zombies as members: they are left out. */
function isGroupAlive(leader: number): boolean {
  if (!signalGroup(leader, 0)) return false;
  return allPids().some((pid) => {
    const stat = processStat(pid);
    return stat?.group === leader && !hasEnded(stat);
  });
}

const LOOK_INTERVAL = 50;

/**
 * Ends the remaining processes of a group whose leader has ended: SIGTERM, and after `timeout` ms SIGKILL. Resolves when both
 * are done; false: a process needed the SIGKILL.
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
