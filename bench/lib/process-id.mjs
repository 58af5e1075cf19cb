// Processes, also those of others, told from later ones with the same pid: found, looked after and signalled. Without a
// /proc it knows what kill(2) with signal 0 tells.

import { readFileSync } from 'node:fs';
import process from 'node:process';
import { allPids, hasEnded, processStat } from '../../dist/fd/proc.js';

const hasProc = process.platform === 'linux';

export function identify(pid) {
  if (hasProc) {
    const stat = processStat(pid);
    return stat === undefined || hasEnded(stat) ? undefined : { pid, startTime: stat.startTime };
  }
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return undefined;
  }
  return { pid, startTime: '' };
}

export function isAlive({ pid, startTime }) {
  return identify(pid)?.startTime === startTime;
}

export function signal(id, name) {
  try {
    return isAlive(id) && process.kill(id.pid, name);
  } catch {
    return false;
  }
}

export function marked(...assignments) {
  const found = assignments.map(() => []);
  for (const pid of hasProc ? allPids() : []) {
    if (pid === process.pid) continue;
    const environment = `\0${read(`/proc/${pid}/environ`)}`;
    const index = assignments.findIndex((assignment) => environment.includes(`\0${assignment}\0`));
    const id = index === -1 ? undefined : identify(pid);
    if (id !== undefined) found[index].push(id);
  }
  return found;
}

export function commandOf(pid) {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() || 'command unknown';
}

/** What cannot be read (gone meanwhile, or another user's) is as good as empty. */
function read(path) {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
