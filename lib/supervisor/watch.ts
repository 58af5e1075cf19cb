// Tells when sources were saved: once for a burst, and not for what programs write by themselves.
import { type FSWatcher, watch } from 'node:fs';

const DEBOUNCE = 150;
const IGNORED = /(^|\/)(node_modules|\.[^/]+|dist-tmp)(\/|$)|~$|\.(log|pid|sock|lock|tmp|swp)$/;

/** Calls back when something under the directory was saved, until the function returned is called. */
export function watchSources(directory: string, onSaved: (path: string) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const watcher: FSWatcher = watch(directory, { recursive: true }, (_, path) => {
    if (path === null || IGNORED.test(path)) return;
    clearTimeout(timer);
    timer = setTimeout(onSaved, DEBOUNCE, path);
  });
  return () => {
    clearTimeout(timer);
    watcher.close();
  };
}
