// What TypeScript makes of `handover/tls`: compiled by `npm run typecheck`, never run.
import type { X509Certificate } from 'node:crypto';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import { createServer as createTlsServer } from 'node:tls';
import { type Certificates, HandoverError, reloadCertificates } from 'handover/tls';
import { type Equal, same } from './same.js';

const server = createServer();
const pem = Buffer.from('-----BEGIN …');
same<Equal<ReturnType<typeof reloadCertificates>, Certificates>>();
same<Equal<Certificates['certificate'], X509Certificate>>();
reloadCertificates(server, { key: pem, cert: '-----BEGIN …', ca: [pem], passphrase: 'secret' }).close();
reloadCertificates(createTlsServer(), { key: pem, cert: pem, watch: false });
reloadCertificates(createSecureServer(), { key: '/key.pem', cert: new URL('file:///cert.pem'), watch: true });
{
  using certificates = reloadCertificates(server, { key: '/key.pem', cert: '/cert.pem', ca: '/ca.pem', watch: true });
  void certificates;
}
// @ts-expect-error the key is missing
reloadCertificates(server, { cert: pem });
// @ts-expect-error what is watched is a path
reloadCertificates(server, { key: pem, cert: pem, watch: true });
// @ts-expect-error a URL is a path, and a path is for watch: true
reloadCertificates(server, { key: new URL('file:///key.pem'), cert: pem });
void new HandoverError('ERR_HANDOVER_CERTIFICATE', 'expired', { stillServing: true });
