// Follows files by their paths, through renames and symlinks: what certbot does (`live/x/key.pem` becomes another link)
// and Kubernetes (`..data` becomes another directory) changes no file that was open, only what a name means.
import { type FSWatcher, lstatSync, readlinkSync, watch } from 'node:fs';
import { basename, dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';

/** path_resolution(7): more links than that are a loop. */
const MAX_LINKS = 40;
/** What belongs together is written within this time, mostly; the file that comes later makes for one more look. */
const SETTLE_INTERVAL = 100;

/** Directory to the names in it that decide what a path means. */
type Places = Map<string, Set<string>>;

export class FollowedFiles {
  readonly #paths: readonly string[];
  readonly #onChange: () => void;
  readonly #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /**
   * Calls back some time after one of the paths has come to mean another file, or that file has changed. Keeps no process
   * alive.
   * @throws what inotify_add_watch(2) says, ENOSPC where the user has too many watches
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
          // Of itself a directory tells by its own name: it was moved or removed.
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

  /** From the first change on, so that a directory that never rests is looked at all the same. */
  #settle(): void {
    if (this.#isClosed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#follow();
    }, SETTLE_INTERVAL).unref();
  }

  /** Watches where the paths lead now, and only then has them read: what changes later is seen. */
  #follow(): void {
    this.#unwatch();
    try {
      this.#watch();
    } catch {
      // Out of watches, or a directory went in this very moment: it is tried again.
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
