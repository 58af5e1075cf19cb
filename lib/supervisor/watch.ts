// Watches source files: one call for a burst of saves, none for files that programs write by themselves. Each directory has its
// own watch, because a recursive one would look at every file below node_modules, too.
import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { hasCode } from '../errors.js';

const DEBOUNCE = 150;
const SOURCE = /\.([cm]?[jt]sx?|json|wasm|node|py|rb|php|lua)$/;
const IGNORED = /^(node_modules|__pycache__|\..*)$/;

export interface WatchEvents {
  readonly onSaved: (path: string) => void;
  /** A directory is not watched, or not any more. */
  readonly onError: (error: Error) => void;
}

/** Calls back when a source under the directory was saved, until the function returned is called. */
export function watchSources(root: string, events: WatchEvents): () => void {
  const sources = new Sources(root, events);
  sources.add(root);
  return () => sources.close();
}

class Sources {
  readonly #root: string;
  readonly #events: WatchEvents;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;

  constructor(root: string, events: WatchEvents) {
    this.#root = root;
    this.#events = events;
  }

  /** Watches a directory and those below it. A directory that vanishes meanwhile is no error. */
  add(directory: string, { isNew = false } = {}): void {
    try {
      this.#watch(directory);
      for (const entry of readdirSync(directory, { withFileTypes: true })) {
        const path = join(directory, entry.name);
        if (IGNORED.test(entry.name)) continue;
        if (entry.isDirectory()) this.add(path, { isNew });
        // The file was saved before the watch began.
        else if (isNew) this.#onFile(path);
      }
    } catch (error) {
      if (!isGone(error)) this.#events.onError(error as Error);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
  }

  #watch(directory: string): void {
    // A directory that was removed and made again needs a new watch.
    this.#watchers.get(directory)?.close();
    const watcher = watch(directory, (event, name) => this.#onEvent(event, join(directory, name ?? '')));
    watcher.on('error', (error) => this.#events.onError(error));
    this.#watchers.set(directory, watcher);
  }

  #onEvent(event: string, path: string): void {
    if (
      this.#relative(path)
        .split(sep)
        .some((part) => IGNORED.test(part))
    )
      return;
    if (event === 'rename' && isDirectory(path)) this.add(path, { isNew: true });
    else this.#onFile(path);
  }

  #onFile(path: string): void {
    if (!SOURCE.test(path)) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#events.onSaved, DEBOUNCE, this.#relative(path));
  }

  #relative(path: string): string {
    return relative(this.#root, path);
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isGone(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR');
}
