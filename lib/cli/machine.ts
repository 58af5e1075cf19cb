// The input of the doctor: files of /proc and /sys below a root, and the status of the process.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Status } from '../protocol/control-commands.js';

export class Machine {
  readonly root: string;
  /** Undefined where no process was found. */
  readonly status: Status | undefined;

  constructor(root: string, status: Status | undefined) {
    this.root = root;
    this.status = status;
  }

  path(name: string): string {
    return join(this.root, name);
  }

  /** Undefined where the file cannot be read. */
  text(name: string): string | undefined {
    try {
      return readFileSync(this.path(name), 'utf8').trim();
    } catch {
      return undefined;
    }
  }

  /** The numbers of a file below /proc/sys. */
  sysctl(name: string): readonly number[] | undefined {
    return this.text(`/proc/sys/${name.replaceAll('.', '/')}`)
      ?.split(/\s+/)
      .map(Number);
  }

  /** Path of a file in /proc of the checked process; of this process where none was found. */
  processFile(name: string): string {
    return `/proc/${this.status?.pid ?? 'self'}/${name}`;
  }

  /** A counter of the process' network namespace: the file has a line of names above each line of values. */
  counter(group: string, name: string): number | undefined {
    const rows = this.text(this.processFile('net/netstat'))
      ?.split('\n')
      .filter((line) => line.startsWith(`${group}: `))
      .map((line) => line.split(' '));
    const index = rows?.[0]?.indexOf(name) ?? -1;
    const value = index < 0 ? undefined : rows?.[1]?.[index];
    return value === undefined ? undefined : Number(value);
  }
}
