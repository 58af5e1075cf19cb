// CPU profiles by the inspector of this very process: no port is opened.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { publish } from '../events.js';
import { Observer } from './observer.js';

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
        writeFileSync(file, JSON.stringify(result.profile));
      } catch (error) {
        publish('hook-failed', { name: 'profile', error: error as Error });
      }
    });
    session.disconnect();
  };
}

/** Profiles this process from the moment it is superseded until that handover is over. */
export function profileDrain(directory: string, handoverId: string): void {
  let stop = (): void => {};
  const observer = new Observer('profile');
  observer.on('superseded', (superseded) => {
    if (superseded.handoverId !== handoverId) return;
    stop = startProfile(join(directory, `${handoverId}.predecessor-drain.cpuprofile`));
  });
  observer.on('outcome', (outcome) => {
    if (outcome.handoverId !== handoverId || outcome.role !== 'predecessor') return;
    stop();
    observer.end();
  });
}
