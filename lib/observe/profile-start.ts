// Profiles the start of a successor: `--import` loads this file before any code of the app.
import { eventChannel, type HandoverEvents } from '../events.js';
import { startProfile } from './profile.js';

const { HANDOVER_PROFILE: file, NODE_OPTIONS: options = '' } = process.env;
// The children of this process must not be profiled.
delete process.env.HANDOVER_PROFILE;
const own = `--import=${import.meta.url}`;
const others = options.split(' ').filter((option) => option !== own);
if (others.length === 0) delete process.env.NODE_OPTIONS;
else process.env.NODE_OPTIONS = others.join(' ');

if (file !== undefined) {
  const stop = startProfile(file);
  const frames = eventChannel('frame');
  const onFrame = (message: unknown): void => {
    const { role, direction, name } = message as HandoverEvents['frame'];
    if (role !== 'successor' || direction !== 'sent' || name !== 'READY') return;
    frames.unsubscribe(onFrame);
    process.off('exit', stop);
    // READY must not wait for the profile to be written.
    setImmediate(stop);
  };
  frames.subscribe(onFrame);
  // The profile of a failed start is useful, too.
  process.once('exit', stop);
}
