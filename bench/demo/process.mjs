// Other processes, told apart by more than their pid: a pid is used again, and must not be signalled then.

import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';

/** @typedef {{ pid: number, startTime: string | undefined }} Identity `startTime` is known on Linux only. */

/**
 * @param {number} pid
 * @returns {Identity}
 */
export function identify(pid) {
  return { pid, startTime: stat(pid)?.startTime };
}

/** @param {Identity} identity */
export function isAlive({ pid, startTime }) {
  if (process.platform === 'linux') {
    const now = stat(pid);
    // A zombie has ended; in a container without an init nobody may ever collect it.
    return now !== undefined && now.startTime === startTime && now.state !== 'Z' && now.state !== 'X';
  }
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/**
 * Signals the process, if it is still the same one.
 * @param {Identity} identity
 * @param {NodeJS.Signals} signal
 * @returns {boolean} Whether it was there.
 */
export function signal(identity, signal) {
  if (!isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Finds the living processes that inherited an environment variable. Linux only; elsewhere none is found.
 * @param {string} assignment `NAME=value`
 * @returns {Identity[]}
 */
export function findByEnvironment(assignment) {
  if (process.platform !== 'linux') return [];
  const wanted = Buffer.from(`\0${assignment}\0`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => Buffer.concat([Buffer.from([0]), read(`/proc/${pid}/environ`)]).includes(wanted))
    .map((pid) => identify(Number(pid)))
    .filter(isAlive);
}

/** proc(5): the name in parentheses may hold anything, so count the fields from the last parenthesis on. */
function stat(pid) {
  const text = read(`/proc/${pid}/stat`).latin1Slice();
  if (text === '') return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0], startTime: fields[19] };
}

/** What cannot be read (gone, or another user's) is as good as empty here. */
function read(file) {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0);
  }
}
