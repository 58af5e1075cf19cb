// `handover/auto` where no module can await: for `require`, and for bundlers, whose CommonJS output has no top-level await.
// The app starts at once; in a successor it listens when everything that the predecessor hands over has arrived.
import { beginAuto, throwOutside } from './auto/begin.js';

beginAuto()?.catch(throwOutside);
