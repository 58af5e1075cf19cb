// Files this process writes in directories where another user may have put a link to a foreign file, or a FIFO that blocks.
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const STICKY = 0o1000;

/** How a directory is judged. */
export interface DirectoryRule {
  /** @default the user this process runs as */
  readonly user?: number | undefined;
  /** Accept a sticky directory: no user removes another's file there, but any user may create it first. @default false */
  readonly allowSticky?: boolean;
}

/** Why other users could exchange a file in this directory; undefined where they cannot. */
export function unsafety(directory: string, rule: DirectoryRule = {}): string | undefined {
  const { user = process.geteuid?.(), allowSticky = false } = rule;
  const { mode, uid } = statSync(directory);
  const isSticky = allowSticky && (mode & STICKY) !== 0;
  if ((mode & 0o022) !== 0 && !isSticky) return `${directory} can be written to by other users`;
  if (uid !== 0 && uid !== user) return `${directory} belongs to user ${uid}`;
  return undefined;
}

/** @throws Error other users can write to the directory; the error of stat(2) */
export function expectSafe(directory: string): void {
  const reason = unsafety(directory);
  if (reason === undefined) return;
  throw new Error(
    `${reason}: the directory must belong to root or to the user of this process, and only its owner may write to it (chown, chmod go-w)`,
  );
}

/**
 * Writes a file whole or not at all, by way of a temporary file that this call creates beside it.
 * @throws the system's error; the file is then what it was
 */
export function replaceFile(path: string, temporary: string, text: string): void {
  try {
    // An ended process with our pid may have left a file of that name. `wx` opens neither that file nor a link.
    rmSync(temporary, { force: true });
    writeFileSync(temporary, text, { flag: 'wx' });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** @returns undefined where the path is no regular file. Never waits. @throws the error of open(2), ELOOP for a link */
export function readRegularFile(path: string): string | undefined {
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd, 'utf8') : undefined;
  } finally {
    closeSync(fd);
  }
}

/**
 * Opens a regular file or a character device to append to; makes the file. Never waits, as it would for the reader of a
 * FIFO, and follows no link. The descriptor is the caller's.
 * @throws Error the file is of another type; the error of open(2): ENXIO for a FIFO without a reader, ELOOP for a link
 */
export function openToAppend(path: string, mode: number): number {
  const fd = openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, mode);
  const stat = fstatSync(fd);
  if (stat.isFile() || stat.isCharacterDevice()) return fd;
  closeSync(fd);
  throw new Error(`${path} is neither a regular file nor a character device`);
}
