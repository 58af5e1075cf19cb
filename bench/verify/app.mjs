// The server `npm run verify` hands over: HTTP, WebSockets that echo, raw connections that count. See server.mjs.
import { start } from './server.mjs';

await start();
