// Loaded by `--import` into a successor whose start is to be profiled, before any code of the app.
import { eventChannel, type HandoverEvents } from '../events.js';
import { startProfile } from './profile.js';

const { HANDOVER_PROFILE: file, NODE_OPTIONS: options = '' } = process.env;
// For this process only: not for what it starts.
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
    // READY is on its way: it is not to wait for the profile to be written.
    setImmediate(stop);
  };
  frames.subscribe(onFrame);
  // A start that fails is worth looking at, too.
  process.once('exit', stop);
}
