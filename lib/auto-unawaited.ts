// `handover/auto` where no module can await: for `require` and for bundlers, whose CommonJS output has no top-level await. The app
// runs at once; in a successor it listens when what the predecessor hands over is there.
import { beginAuto, throwOutside } from './auto/begin.js';

beginAuto()?.catch(throwOutside);
