// What a TLS server was made with: ticket keys, session id context, secure options, authorities.
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';

interface SecureServer {
  readonly ticketKeys?: unknown;
  sessionIdContext?: unknown;
  readonly _sharedCreds?: { readonly context?: { setSessionIdContext?: (context: string) => void } };
}

/** Whether the app gave the option `ticketKeys`. */
export function hasOwnTicketKeys(server: TlsServer): boolean {
  return (server as SecureServer).ticketKeys !== undefined;
}

/** The session id context a server was made with: the app's option, or Node's default. */
export function sessionIdContextOf(server: TlsServer): string | undefined {
  const { sessionIdContext } = server as SecureServer;
  return typeof sessionIdContext === 'string' ? sessionIdContext : undefined;
}

/** Gives a server another one, for the handshakes to come. False: this Node cannot, and sessions may not be resumed. */
export function setSessionIdContext(server: TlsServer, sessionIdContext: string): boolean {
  const secure = server as SecureServer;
  const context = secure._sharedCreds?.context;
  if (typeof context?.setSessionIdContext !== 'function') return false;
  context.setSessionIdContext(sessionIdContext);
  secure.sessionIdContext = sessionIdContext;
  return true;
}

/** TLS options that stay when key and certificate are others: `setSecureContext` forgets what it is not told again. */
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

/** What a TLS server was made with, but for its key, certificate and authorities. */
export function secureOptionsOf(server: TlsServer): SecureContextOptions {
  const source = server as unknown as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    KEPT_OPTIONS.map((name) => [name, source[name]]).filter(([, value]) => value !== undefined),
  );
}

/** The authorities of a TLS server, and whether clients are verified by them. */
export function authoritiesOf(server: TlsServer): {
  readonly verifies: boolean;
  readonly ca: string | Buffer | (string | Buffer)[] | undefined;
} {
  const { requestCert, ca } = server as { requestCert?: unknown; ca?: string | Buffer | (string | Buffer)[] };
  return { verifies: requestCert === true, ca };
}
