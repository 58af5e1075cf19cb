// Follows files by their paths, through renames and symlinks. certbot (`live/x/key.pem` becomes another link) and
// Kubernetes (`..data` becomes another directory) change no open file, but the file that a path leads to.
import { type FSWatcher, lstatSync, readlinkSync, watch } from 'node:fs';
import { basename, dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';

/** More links than this are a loop (path_resolution(7)). */
const MAX_LINKS = 40;
/**
 * Milliseconds from a change to the call. A key and its certificate are mostly written in this time; otherwise a second
 * call follows.
 */
const SETTLE_INTERVAL = 100;

/** Directories, each with the names in it that a path goes through. */
type Places = Map<string, Set<string>>;

export class FollowedFiles {
  readonly #paths: readonly string[];
  readonly #onChange: () => void;
  readonly #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /**
   * Calls back, `SETTLE_INTERVAL` ms later, when one of the paths leads to another file, or when that file has changed.
   * Does not keep the process alive.
   * @throws ENOSPC … as inotify_add_watch(2): the user has too many watches
   */
  constructor(paths: readonly string[], onChange: () => void) {
    this.#paths = paths.map((path) => resolve(path));
    this.#onChange = onChange;
    this.#watch();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#unwatch();
  }

  /** @throws as the constructor */
  #watch(): void {
    const places: Places = new Map();
    for (const path of this.#paths) addPlaces(path, places);
    try {
      for (const [directory, names] of places) {
        const watcher = watch(directory, { persistent: false }, (_, name) => {
          // An event with the directory's own name: the directory was moved or removed.
          if (name === null || names.has(name) || name === basename(directory)) this.#settle();
        });
        watcher.on('error', () => this.#settle());
        this.#watchers.push(watcher);
      }
    } catch (error) {
      this.#unwatch();
      throw error;
    }
  }

  #unwatch(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  /** Waits from the first change on, so that constant changes of a directory do not delay the call for ever. */
  #settle(): void {
    if (this.#isClosed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#follow();
    }, SETTLE_INTERVAL).unref();
  }

  /** Watches where the paths lead now, and only then calls back, so that a later change is noticed. */
  #follow(): void {
    this.#unwatch();
    try {
      this.#watch();
    } catch {
      // The user has too many watches, or a directory was just removed: try again.
      this.#settle();
    }
    this.#onChange();
  }
}

function addPlaces(path: string, places: Places): void {
  const { root } = parse(path);
  let at = root;
  let links = 0;
  const steps = path.slice(root.length).split(sep);
  for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
    if (step === '' || step === '.') continue;
    if (step === '..') {
      at = dirname(at);
      continue;
    }
    const next = join(at, step);
    const stat = lstatSync(next, { throwIfNoEntry: false });
    const isLink = stat?.isSymbolicLink() === true;
    if (!stat || isLink || steps.length === 0) places.set(at, (places.get(at) ?? new Set()).add(step));
    if (!stat) return;
    if (!isLink) {
      at = next;
      continue;
    }
    if (++links > MAX_LINKS) return;
    const target = readlinkSync(next);
    if (isAbsolute(target)) at = parse(target).root;
    steps.unshift(...target.split(sep));
  }
}
