// CPU profiles by an inspector session inside this process: it opens no port.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { publish } from '../events.js';

/** Begins a profile. The returned function ends it and writes it to the file, once; errors are published. */
export function startProfile(file: string): () => void {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    // A session connected to its own thread calls back before `post` returns.
    session.post('Profiler.stop', (failure, result) => {
      try {
        if (failure) throw failure;
        writeFileSync(file, JSON.stringify(result.profile), { flag: 'wx' });
      } catch (error) {
        publish('hook-failed', { name: 'profile', error: error as Error });
      }
    });
    session.disconnect();
  };
}
