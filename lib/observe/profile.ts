// CPU profiles by the inspector of this very process: no port is opened.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { publish } from '../events.js';

/** Begins one. The function returned ends it and writes it to the file, once; what fails is published. */
export function startProfile(file: string): () => void {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    // A session with its own thread answers before it returns.
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
