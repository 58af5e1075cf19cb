// The protocols there are. A new one is added here, and to the names in events.ts.
import { http1 } from './http1.js';
import { http2 } from './http2.js';
import type { ProtocolAt } from './protocol.js';
import { raw } from './raw.js';
import { tls } from './tls.js';
import { websocket } from './websocket.js';

/** In the order in which they are asked whether they recognise a connection: the last two take what is left. */
export const PROTOCOLS: readonly ProtocolAt[] = [tls, http2, websocket, http1, raw];
