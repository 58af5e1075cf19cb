// TLS clients that keep their session: Node's own, and openssl s_client.
import { execFileSync, spawn } from 'node:child_process';
import tls from 'node:tls';
import { LOCALHOST } from '../engine/engine.js';

export const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
export type Version = (typeof VERSIONS)[number];

/** One connection with one request. */
export interface TlsVisit {
  readonly pid: number;
  /** The server took the session it was offered. */
  readonly reused: boolean;
  /** To offer at the next visit. */
  readonly session: Buffer;
  /** SHA-256 of the server's certificate; empty where a resumed session does not tell. */
  readonly fingerprint: string;
}

/** Connects, asks for `/` with HTTP/1.1, and leaves. @throws Error in what way it was not the whole answer */
export function visitTls(port: number, version: Version, session?: Buffer): Promise<TlsVisit> {
  return new Promise((resolve, reject) => {
    const options = { minVersion: version, maxVersion: version, rejectUnauthorized: false, servername: 'localhost' };
    const socket = tls.connect({ port, host: LOCALHOST, ...options, ...(session && { session }) });
    let text = '';
    let latest: Buffer | undefined;
    let fingerprint = '';
    let reused = false;
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('session', (ticket: Buffer) => {
      latest = ticket;
    });
    socket.on('secureConnect', () => {
      reused = socket.isSessionReused();
      fingerprint = socket.getPeerCertificate().fingerprint256 ?? '';
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const pid = Number(/x-pid: (\d+)/i.exec(text)?.[1]);
      if (!text.startsWith('HTTP/1.1 200 ') || !(pid > 0)) reject(new Error(`no answer: ${JSON.stringify(text)}`));
      else resolve({ pid, reused, session: latest ?? session ?? Buffer.alloc(0), fingerprint });
    });
  });
}

/** Only the handshake, for servers that do not speak HTTP/1. Node's client has its TLS 1.3 ticket some time after it. */
export function shakeHands(
  port: number,
  version: Version,
  session?: Buffer,
): Promise<Pick<TlsVisit, 'reused' | 'session'>> {
  return new Promise((resolve, reject) => {
    const options = { minVersion: version, maxVersion: version, rejectUnauthorized: false, servername: 'localhost' };
    const ALPNProtocols = ['h2'];
    const socket = tls.connect({ port, host: LOCALHOST, ...options, ALPNProtocols, ...(session && { session }) });
    const end = (ticket: Buffer): void => {
      resolve({ reused: socket.isSessionReused(), session: ticket });
      socket.destroy();
    };
    socket.on('error', reject);
    socket.on('session', end);
    // A resumed session of TLS 1.2 may bring no new ticket.
    socket.on('secureConnect', () => {
      if (socket.isSessionReused()) end(socket.getSession() ?? Buffer.alloc(0));
    });
  });
}

/** Whether openssl(1) is there. */
export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    process.stdout.write('SKIPPED: openssl is not installed, its s_client resumes nothing here\n');
    return false;
  }
}

/** One connection of openssl s_client with one request; `New` or `Reused` as it says itself. */
export function sClient(
  port: number,
  version: Version,
  session: { readonly in?: string; readonly out?: string },
): Promise<{ readonly kind: string; readonly pid: number }> {
  const args = ['s_client', '-connect', `${LOCALHOST}:${port}`, '-servername', 'localhost', '-ign_eof'];
  args.push(version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3');
  if (session.in !== undefined) args.push('-sess_in', session.in);
  if (session.out !== undefined) args.push('-sess_out', session.out);
  return new Promise((resolve, reject) => {
    const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk;
      });
    }
    child.on('error', reject);
    child.on('close', () => {
      const kind = /^(New|Reused), /m.exec(text)?.[1];
      const pid = Number(/x-pid: (\d+)/i.exec(text)?.[1]);
      if (kind === undefined || !(pid > 0)) reject(new Error(`openssl s_client said:\n${text}`));
      else resolve({ kind, pid });
    });
    child.stdin.on('error', () => {});
    child.stdin.end('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  });
}
