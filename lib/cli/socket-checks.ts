// The doctor's checks of the sockets by which a process can be replaced or ended: whether another user could use them.
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { unsafety } from '../fd/safe-files.js';
import type { Finding } from './checks.js';
import type { Machine } from './machine.js';

/** Checks the control socket and the takeover socket, where their paths are known. */
export function socketFindings(machine: Machine, control: string | undefined): Finding[] {
  const { status } = machine;
  const paths = [
    ['control socket', control ?? (status?.control && machine.path(status.control))],
    ['takeover socket', status?.takeover && machine.path(status.takeover)],
  ] as const;
  return paths.flatMap(([name, path]) => (path === undefined ? [] : [judge(name, path)]));
}

function judge(name: string, path: string): Finding {
  const why =
    'a user who can connect to the socket, or put another one in its place, can take the listeners or end the process';
  try {
    const { mode, uid } = lstatSync(path);
    const permissions = (mode & 0o777).toString(8).padStart(4, '0');
    const value = `${path} ${permissions}`;
    const directory = dirname(path);
    const unsafe = unsafety(directory, { user: uid });
    if (unsafe !== undefined) {
      return {
        name,
        severity: 'fail',
        value,
        wrong: unsafe,
        why,
        fix: `chmod go-w ${directory} && chown ${uid} ${directory}`,
      };
    }
    if ((mode & 0o077) === 0) return { name, severity: 'ok', value };
    return { name, severity: 'fail', value, wrong: 'other users may connect', why, fix: `chmod 0600 ${path}` };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const gone = code === 'ENOENT';
    return {
      name,
      severity: 'fail',
      value: path,
      wrong: gone ? 'the file is gone' : (error as Error).message,
      why: gone ? 'the process still listens, but no client can reach it by this path any more' : why,
      fix: gone ? 'hand over by the signal: the new process binds it again' : `ls -ld ${dirname(path)}`,
    };
  }
}
