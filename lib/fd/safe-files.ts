// Files this process writes where others may have put something: a link to a file that is not ours, a FIFO that blocks.
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
  /** In such a directory nobody removes what another user has made, but anybody may be first. @default false */
  readonly allowSticky?: boolean;
}

/** What is wrong with a directory as the place of a file others must not exchange; undefined where nothing is. */
export function unsafety(directory: string, rule: DirectoryRule = {}): string | undefined {
  const { user = process.geteuid?.(), allowSticky = false } = rule;
  const { mode, uid } = statSync(directory);
  const isSticky = allowSticky && (mode & STICKY) !== 0;
  if ((mode & 0o022) !== 0 && !isSticky) return `${directory} can be written to by other users`;
  if (uid !== 0 && uid !== user) return `${directory} belongs to user ${uid}`;
  return undefined;
}

/** @throws Error others can write to the directory; what stat(2) says */
export function expectSafe(directory: string): void {
  const reason = unsafety(directory);
  if (reason !== undefined) throw new Error(`${reason} (chmod go-w, own it)`);
}

/**
 * Writes a file whole or not at all, by a temporary one beside it that nobody has put there.
 * @throws the system's error; the file is then what it was
 */
export function replaceFile(path: string, temporary: string, text: string): void {
  try {
    // A file of that name is what an ended process with our pid has left. `wx` opens neither it nor a link.
    rmSync(temporary, { force: true });
    writeFileSync(temporary, text, { flag: 'wx' });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** @returns undefined: it is no regular file, or a link to one. Never waits. @throws what open(2) says, ELOOP of a link */
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
 * @throws Error it is something else; what open(2) says: ENXIO of a FIFO without a reader, ELOOP of a link
 */
export function openToAppend(path: string, mode: number): number {
  const fd = openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, mode);
  const stat = fstatSync(fd);
  if (stat.isFile() || stat.isCharacterDevice()) return fd;
  closeSync(fd);
  throw new Error(`${path} is neither a regular file nor a character device`);
}
