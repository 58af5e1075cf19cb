// The options of a TLS server's creation: ticket keys, session id context, secure options, authorities.
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';

interface SecureServer {
  readonly ticketKeys?: unknown;
  sessionIdContext?: unknown;
  readonly _sharedCreds?: { readonly context?: { setSessionIdContext?: (context: string) => void } };
}

/** Whether the app gave the server the option `ticketKeys`. */
export function hasOwnTicketKeys(server: TlsServer): boolean {
  return (server as SecureServer).ticketKeys !== undefined;
}

/** The session id context of a server: the app's option, or Node's default; undefined where this Node does not show it. */
export function sessionIdContextOf(server: TlsServer): string | undefined {
  const { sessionIdContext } = server as SecureServer;
  return typeof sessionIdContext === 'string' ? sessionIdContext : undefined;
}

/** Sets the session id context for later handshakes. False: this Node has no way to set it, and old sessions do not resume. */
export function setSessionIdContext(server: TlsServer, sessionIdContext: string): boolean {
  const secure = server as SecureServer;
  const context = secure._sharedCreds?.context;
  if (typeof context?.setSessionIdContext !== 'function') return false;
  context.setSessionIdContext(sessionIdContext);
  secure.sessionIdContext = sessionIdContext;
  return true;
}

/** TLS options to keep when key and certificate change: `setSecureContext()` drops the options that it is not given again. */
const KEPT_OPTIONS = [
  'crl',
  'sigalgs',
  'ciphers',
  'ecdhCurve',
  'dhparam',
  'minVersion',
  'maxVersion',
  'secureProtocol',
  'secureOptions',
  'honorCipherOrder',
  'sessionIdContext',
  'sessionTimeout',
  'certificateCompression',
] as const;

/** The secure options of a TLS server, without its key, certificate and authorities. */
export function secureOptionsOf(server: TlsServer): SecureContextOptions {
  const source = server as unknown as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    KEPT_OPTIONS.map((name) => [name, source[name]]).filter(([, value]) => value !== undefined),
  );
}

/** The authorities of a TLS server, and whether it verifies client certificates by them (`requestCert`). */
export function authoritiesOf(server: TlsServer): {
  readonly verifies: boolean;
  readonly ca: string | Buffer | (string | Buffer)[] | undefined;
} {
  const { requestCert, ca } = server as { requestCert?: unknown; ca?: string | Buffer | (string | Buffer)[] };
  return { verifies: requestCert === true, ca };
}
