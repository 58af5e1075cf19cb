// What a client of one process needs to resume its TLS session with the next one: the keys its ticket is sealed with, and
// the session id context, which must be the same in both and by default depends on the command line (FACTS C10).
import { createHash } from 'node:crypto';
import type { Server } from 'node:tls';
import { hasOwnTicketKeys, sessionIdContextOf, setSessionIdContext } from './tls-server.js';

/** What `getTicketKeys()` gives: name, HMAC key and cipher key. */
const KEYS_BYTES = 48;
/** SSL_MAX_SID_CTX_LENGTH */
const MAX_CONTEXT_BYTES = 32;

/** Contexts that came from a predecessor. */
const inherited = new WeakMap<Server, string>();

/** The keys, followed by the session id context in UTF-8. They are secrets: not for a log, not for a disk. */
export function readTickets(server: Server): Buffer {
  return Buffer.concat([server.getTicketKeys(), Buffer.from(sessionIdContextOf(server) ?? '')]);
}

/**
 * Has the server resume sessions of the process these bytes came from. Keys given by the app as the option `ticketKeys`
 * and a context given as `sessionIdContext` are the app's decision and stay.
 */
export function applyTickets(server: Server, bytes: Buffer): void {
  // Of a version that writes something else: its clients make a full handshake.
  if (bytes.length < KEYS_BYTES || bytes.length > KEYS_BYTES + MAX_CONTEXT_BYTES) return;
  const context = bytes.toString('utf8', KEYS_BYTES);
  if (!hasOwnTicketKeys(server)) server.setTicketKeys(bytes.subarray(0, KEYS_BYTES));
  const current = sessionIdContextOf(server);
  if (context === '' || (current !== defaultContext() && current !== inherited.get(server))) return;
  if (setSessionIdContext(server, context)) inherited.set(server, context);
}

/** What Node takes where the app gives no `sessionIdContext` (lib/internal/tls/wrap.js, the same from 20 to 26). */
function defaultContext(): string {
  return createHash('sha1').update(process.argv.join(' ')).digest('hex').slice(0, 32);
}
