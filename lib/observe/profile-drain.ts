// The profile of a process' drain, for each handover that is asked for with one. The inspector is loaded only then.
import { join } from 'node:path';
import { publish } from '../events.js';
import { Observer } from './observer.js';

/** Profiles this process from the moment it is superseded until that handover is over. The function returned ends that. */
export function profileDrains(): () => void {
  let start: ((file: string) => () => void) | undefined;
  /** By handover: where its profile is wanted, and what ends it. */
  const wanted = new Map<string, string>();
  const running = new Map<string, () => void>();
  const observer = new Observer('profile');
  observer.on('requested', ({ handoverId, profile }) => {
    if (profile !== undefined) wanted.set(handoverId, profile);
  });
  // A refused one enters no phase; of any other the successor is started meanwhile, which takes longer than this.
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
