// `node --import handover/auto server.js`: a server that knows nothing of this package hands over. The app is not run before all
// that a predecessor hands over is there.
import { beginAuto } from './auto/begin.js';

await beginAuto();
