// `node --import handover/auto server.js`: hands over a server that does not use this package. The app starts only when
// everything that a predecessor hands over has arrived.
import { beginAuto } from './auto/begin.js';

await beginAuto();
