// reloadCertificates: another certificate for new handshakes, in a process that goes on.
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { reloadCertificates } from '../../lib/tls.js';
import { LOCALHOST } from '../engine/engine.js';
import { selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { shakeHands, VERSIONS, visitTls } from './clients.js';
import { encrypted, type Pair, pairBetween, pairOf } from './pairs.js';

expectNoLeaks();

const fingerprint = ({ cert }: Pair): string => new X509Certificate(cert).fingerprint256;

async function listening<S extends tls.Server>(server: S): Promise<S & { readonly port: number }> {
  server.listen(0, LOCALHOST);
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    await once(server, 'close');
  });
  return Object.assign(server, { port: (server.address() as AddressInfo).port });
}

const site = (options: https.ServerOptions) =>
  listening(https.createServer(options, (_, response) => response.setHeader('x-pid', process.pid).end('hello')));

async function seenBy(port: number): Promise<string> {
  return (await visitTls(port, 'TLSv1.3')).fingerprint;
}

describe('reloadCertificates', () => {
  it('gives new handshakes the new certificate; an open connection is not touched', async () => {
    const [old, young] = [pairOf('old'), pairOf('young')];
    const server = await listening(tls.createServer(old, (socket) => socket.pipe(socket)));
    const open = tls.connect({ port: server.port, host: LOCALHOST, rejectUnauthorized: false });
    await once(open, 'secureConnect');
    const { certificate } = reloadCertificates(server, young);
    expect(certificate.fingerprint256).toBe(fingerprint(young));
    open.write('still here');
    expect(String((await once(open, 'data'))[0])).toBe('still here');
    expect(open.getPeerCertificate().fingerprint256).toBe(fingerprint(old));
    open.end();
    await once(open, 'close');
    const next = tls.connect({ port: server.port, host: LOCALHOST, rejectUnauthorized: false });
    await once(next, 'secureConnect');
    expect(next.getPeerCertificate().fingerprint256).toBe(fingerprint(young));
    next.end();
    await once(next, 'close');
  });

  it.each(VERSIONS)('C10: %s sessions from before are resumed', async (version) => {
    const server = await site({ ...pairOf('old'), sessionIdContext: 'mine' });
    const { session } = await visitTls(server.port, version);
    const keys = server.getTicketKeys();
    reloadCertificates(server, pairOf('young'));
    expect(server.getTicketKeys()).toEqual(keys);
    expect(await visitTls(server.port, version, session)).toMatchObject({ reused: true });
  });

  it('works for http2, and takes bytes', async () => {
    const server = await listening(http2.createSecureServer(pairOf('old')) as unknown as tls.Server);
    const young = pairOf('young');
    const { session } = await shakeHands(server.port, 'TLSv1.3');
    reloadCertificates(server, { key: Buffer.from(young.key), cert: new TextEncoder().encode(young.cert) });
    expect((await shakeHands(server.port, 'TLSv1.3', session)).reused).toBe(true);
  });

  it('leaves the other options of the server as they are', async () => {
    const server = await site({ ...pairOf('old'), maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' });
    reloadCertificates(server, pairOf('young'));
    const options = { port: server.port, host: LOCALHOST, rejectUnauthorized: false };
    const client = tls.connect(options);
    await once(client, 'secureConnect');
    expect([client.getProtocol(), client.getCipher().name]).toEqual(['TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384']);
    client.destroy();
    await once(client, 'close');
  });

  it('takes an encrypted key with its passphrase', async () => {
    const server = await site(pairOf('old'));
    const young = pairOf('young');
    reloadCertificates(server, { key: encrypted(young, 'secret'), cert: young.cert, passphrase: 'secret' });
    expect(await seenBy(server.port)).toBe(fingerprint(young));
    reloadCertificates(server, pairOf('third'));
    expect(await seenBy(server.port)).not.toBe(fingerprint(young));
  });
});

describe('client certificates', () => {
  /** What a client that shows this certificate gets to know: whether it was let in, and resumed. */
  const enter = async (port: number, client: Pair, session?: Buffer) => {
    const options = { ...client, port, host: LOCALHOST, rejectUnauthorized: false, maxVersion: 'TLSv1.2' as const };
    const socket = tls.connect({ ...options, ...(session && { session }) });
    await once(socket, 'secureConnect');
    const seen = { reused: socket.isSessionReused(), session: socket.getSession() as Buffer };
    socket.end();
    await once(socket, 'close');
    return seen;
  };

  it('who was verified by other authorities is verified anew, and by the same ones is not', async () => {
    const [alice, bob] = [pairOf('alice'), pairOf('bob')];
    const server = await site({ ...pairOf('old'), requestCert: true, ca: [alice.cert] });
    const verified: boolean[] = [];
    server.on('secureConnection', (socket: tls.TLSSocket) => verified.push(socket.authorized));
    const { session } = await enter(server.port, alice);
    reloadCertificates(server, pairOf('young'));
    expect((await enter(server.port, alice, session)).reused).toBe(true);
    reloadCertificates(server, { ...pairOf('young'), ca: alice.cert });
    expect((await enter(server.port, alice, session)).reused).toBe(true);
    reloadCertificates(server, { ...pairOf('young'), ca: [bob.cert] });
    await expect(enter(server.port, alice, session)).rejects.toMatchObject({ code: /ECONNRESET|ERR_SSL/ });
    expect((await enter(server.port, bob)).reused).toBe(false);
    expect(verified).toEqual([true, true, true, true]);
  });
});

describe('ERR_HANDOVER_CERTIFICATE, and the pair in use stays:', () => {
  const [one, other] = [() => pairOf('one'), () => pairOf('other')];
  it.each<[string, () => Pair & { passphrase?: string; ca?: string }, RegExp]>([
    ['a key of another certificate', () => ({ key: one().key, cert: other().cert }), /does not belong/],
    ['an expired one', () => pairBetween('expired', 2020, 2021), /was valid until Jan {2}1 00:00:00 2021 GMT/],
    ['one of the future', () => pairBetween('early', 2048, 2049), /not valid before Jan {2}1 00:00:00 2048 GMT/],
    ['a certificate cut short', () => ({ ...one(), cert: one().cert.slice(0, 200) }), /certificate is not PEM/],
    ['a key cut short', () => ({ ...one(), key: one().key.slice(0, 100) }), /key is not PEM/],
    ['an empty file', () => ({ ...one(), cert: Buffer.alloc(0) as never }), /certificate is not PEM/],
    [
      'another passphrase',
      () => {
        const pair = one();
        return { ...pair, key: encrypted(pair, 'right'), passphrase: 'wrong' };
      },
      /needs another passphrase/,
    ],
    [
      'authorities that are none',
      () => ({ ...one(), ca: '-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n' }),
      /authorities are not PEM/,
    ],
    [
      'authorities of which the last is cut short',
      () => ({ ...one(), ca: `${one().cert}${other().cert.slice(0, 300)}` }),
      /authorities are not PEM: the PEM text is cut short/,
    ],
    ['a key too small for OpenSSL', () => pairOf('small', ['-newkey', 'rsa:512', '-nodes']), /OpenSSL refuses/],
  ])('%s', async (_, make, message) => {
    const old = pairOf('old');
    const server = await site(old);
    const { session } = await visitTls(server.port, 'TLSv1.2');
    const refused = expect.objectContaining({
      name: 'HandoverError',
      code: 'ERR_HANDOVER_CERTIFICATE',
      stillServing: true,
      message: expect.stringMatching(message),
    });
    const given = make();
    expect(() => reloadCertificates(server, given)).toThrow(refused);
    expect(await seenBy(server.port)).toBe(fingerprint(old));
    expect((await visitTls(server.port, 'TLSv1.2', session)).reused).toBe(true);
  });
});

describe('the caller errs', () => {
  const pair = selfSigned();
  it.each<[string, unknown, RegExp]>([
    ['no key', { cert: pair.cert }, /"options.key" must be PEM/],
    ['a path without watch', { key: '/key.pem', cert: pair.cert }, /"options.key" must be PEM .* watch: true/],
    ['PEM to watch', { ...pair, watch: true }, /"options.key" must be a path/],
    ['a URL of the web', { key: new URL('https://key'), cert: '/cert', watch: true }, /"options.key" must be a path/],
    ['an unknown option', { ...pair, pfx: 'x' }, /options.pfx/],
    ['watch', { ...pair, watch: 1 }, /"options.watch" must be a boolean/],
  ])('%s', (_, options, message) => {
    const act = (): unknown => reloadCertificates(https.createServer(), options as never);
    expect(act).toThrow(expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(message) }));
    expect(act).not.toThrow(/PRIVATE KEY/);
  });

  it('no server of TLS', () => {
    expect(() => reloadCertificates({} as never, pair)).toThrow(/"server" must be a server of tls/);
    expect(() => reloadCertificates(undefined as never, pair)).toThrow(/"server" must be a server of tls/);
  });
});
