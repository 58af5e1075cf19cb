// Profiles the drain of this process in handovers whose request asks for it. Only then is the inspector loaded.
import { join } from 'node:path';
import { publish } from '../events.js';
import { Observer } from './observer.js';

/** Profiles from the moment the process is superseded until the handover is over, until the returned function is called. */
export function profileDrains(): () => void {
  let start: ((file: string) => () => void) | undefined;
  /** Directories for the profiles, and functions that end the running ones, by handover. */
  const wanted = new Map<string, string>();
  const running = new Map<string, () => void>();
  const observer = new Observer('profile');
  observer.on('requested', ({ handoverId, profile }) => {
    if (profile !== undefined) wanted.set(handoverId, profile);
  });
  // A refused handover enters no phase. In any other the start of the successor takes longer than this import.
  observer.on('phase', ({ handoverId }) => {
    if (start || !wanted.has(handoverId)) return;
    import('./profile.js').then(
      ({ startProfile }) => {
        start = startProfile;
      },
      (error: Error) => publish('hook-failed', { name: 'profile', error }),
    );
  });
  observer.on('superseded', ({ handoverId }) => {
    const directory = wanted.get(handoverId);
    if (directory === undefined || !start) return;
    running.set(handoverId, start(join(directory, `${handoverId}.predecessor-drain.cpuprofile`)));
  });
  observer.on('outcome', ({ handoverId, role }) => {
    if (role !== 'predecessor') return;
    wanted.delete(handoverId);
    running.get(handoverId)?.();
    running.delete(handoverId);
  });
  return observer.end;
}
