// Ports for programs that are told one by number, kept for their test: the kernel gives them to nobody else until it ends.
import { connect } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { bindListener, closeFd } from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';

const HOST = '127.0.0.1';
/** Below the numbers that the kernel chooses from, net.ipv4.ip_local_port_range: who has no number in mind gets none of these. */
const UNCHOSEN = { from: 10_000, to: 32_000 };

/**
 * A TCP port at which nobody listens, and which a program of this test may bind with SO_REUSEADDR, as Node does. The test
 * keeps it by a socket that is bound and does not listen: connecting is refused, and port 0 gives another number.
 */
export function freePort(): number {
  const kept = keep(0);
  if (kept === undefined) throw new Error('no TCP port is free');
  return kept;
}

/** As {@link freePort}, for UDP, where a second socket could not share the port. Tests exclude each other by its TCP port. */
export function freeUdpPort(): number {
  for (;;) {
    const port = UNCHOSEN.from + Math.floor(Math.random() * (UNCHOSEN.to - UNCHOSEN.from));
    if (keep(port) === undefined) continue;
    try {
      closeFd(bindListener({ protocol: 'udp', host: HOST, port }));
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

/** The port, bound until the test ends; undefined where another socket has it. */
function keep(port: number): number | undefined {
  const { AF_INET, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR } = native().constants;
  const fd = native().socket(AF_INET, SOCK_STREAM, 0);
  const result = native().bindIp(fd, AF_INET, HOST, port);
  if (result < 0) {
    closeFd(fd);
    if (result === -constants.errno.EADDRINUSE) return undefined;
    throw new Error(`bind(2) of ${HOST}:${port}: ${result}`);
  }
  // Set only now, so that a second test cannot bind the same number here.
  native().setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, new Uint8Array(Int32Array.of(1).buffer));
  const description = native().describe(fd);
  // Outside of Linux no second socket may bind the address, whatever its options.
  if (process.platform === 'linux') onTestFinished(() => closeFd(fd));
  else closeFd(fd);
  const local = typeof description === 'number' ? undefined : description.socket?.local;
  if (local === undefined || !('port' in local)) throw new Error('a bound socket has no port');
  return local.port;
}

/** Resolves when somebody accepts at the port: for programs that do not say that they listen. */
export async function untilAccepted(port: number, timeout = 30_000): Promise<void> {
  const patience = AbortSignal.timeout(timeout);
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const isAccepted = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isAccepted) return;
    patience.throwIfAborted();
    await pause(20);
  }
}
