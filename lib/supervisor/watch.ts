// Tells when sources were saved: once for a burst, and not for what programs write by themselves.
import { type FSWatcher, watch } from 'node:fs';

const DEBOUNCE = 150;
const SOURCE = /\.([cm]?[jt]sx?|json|wasm|node|py|rb|php|lua)$/;
const IGNORED = /(^|\/)(node_modules|__pycache__|\.[^/]+)(\/|$)/;

export interface WatchEvents {
  readonly onSaved: (path: string) => void;
  readonly onError: (error: Error) => void;
}

/** Calls back when a source under the directory was saved, until the function returned is called. @throws as watch(2) */
export function watchSources(directory: string, { onSaved, onError }: WatchEvents): () => void {
  let timer: NodeJS.Timeout | undefined;
  const watcher: FSWatcher = watch(directory, { recursive: true }, (_, path) => {
    if (path === null || !SOURCE.test(path) || IGNORED.test(path)) return;
    clearTimeout(timer);
    timer = setTimeout(onSaved, DEBOUNCE, path);
  });
  // A directory that vanishes while it is looked at must not end the supervisor.
  watcher.on('error', onError);
  return () => {
    clearTimeout(timer);
    watcher.close();
  };
}
