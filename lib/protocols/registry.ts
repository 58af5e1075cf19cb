// All protocols. Add a new one here, and its name in events.ts.
import { http1 } from './http1.js';
import { http2 } from './http2.js';
import type { ProtocolAt } from './protocol.js';
import { raw } from './raw.js';
import { tls } from './tls.js';
import { websocket } from './websocket.js';

/** In the order in which they are asked to recognise a connection; the last two recognise every connection. */
export const PROTOCOLS: readonly ProtocolAt[] = [tls, http2, websocket, http1, raw];
