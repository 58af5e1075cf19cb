// Lets a client of one process resume its TLS session in the next one. The next process needs the keys that seal the tickets,
// and the same session id context, which by default depends on the command line (FACTS C10).
import { createHash } from 'node:crypto';
import type { Server } from 'node:tls';
import { hasOwnTicketKeys, sessionIdContextOf, setSessionIdContext } from './tls-server.js';

/** Length of the result of `getTicketKeys()`: name, HMAC key and cipher key. */
const KEYS_BYTES = 48;
/** SSL_MAX_SID_CTX_LENGTH of OpenSSL. */
const MAX_CONTEXT_BYTES = 32;

/** The session id contexts that servers got from a predecessor. */
const inherited = new WeakMap<Server, string>();

/** The ticket keys, followed by the session id context in UTF-8. The keys are secrets: write them to no log and no disk. */
export function readTickets(server: Server): Buffer {
  return Buffer.concat([server.getTicketKeys(), Buffer.from(sessionIdContextOf(server) ?? '')]);
}

/**
 * Lets the server resume sessions of the process that made these bytes by {@link readTickets}. Keeps the keys and the context
 * of an app that gave them by the options `ticketKeys` and `sessionIdContext`.
 */
export function applyTickets(server: Server, bytes: Buffer): void {
  // Bytes of another format come from another version; its clients make a full handshake.
  if (bytes.length < KEYS_BYTES || bytes.length > KEYS_BYTES + MAX_CONTEXT_BYTES) return;
  const context = bytes.toString('utf8', KEYS_BYTES);
  if (!hasOwnTicketKeys(server)) server.setTicketKeys(bytes.subarray(0, KEYS_BYTES));
  const current = sessionIdContextOf(server);
  if (context === '' || (current !== defaultContext() && current !== inherited.get(server))) return;
  if (setSessionIdContext(server, context)) inherited.set(server, context);
}

/** Node's default for an absent `sessionIdContext` (lib/internal/tls/wrap.js, the same in Node 20 to 26). */
function defaultContext(): string {
  return createHash('sha1').update(process.argv.join(' ')).digest('hex').slice(0, 32);
}
