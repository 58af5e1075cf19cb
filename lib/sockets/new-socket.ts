// Sockets made on a descriptor that another process accepted, as the server would have made them itself.
import { type Server, Socket, type SocketConstructorOpts } from 'node:net';

/** Counts a connection the server did not accept, so that `close()`, `getConnections` and `maxConnections` know it (C3b). */
export function countConnection(server: Server, socket: Socket): void {
  const counting = server as { _connections?: number };
  if (typeof counting._connections !== 'number' || !('_server' in socket)) return;
  counting._connections += 1;
  (socket as { _server: Server | null })._server = server;
}

interface StreamHandleClass {
  new (type: number): { open(fd: number): number; close(): void; getAsyncId?(): number };
}

/** `TCPConstants.SOCKET` and `PipeConstants.SOCKET`: a connection, not a listener. */
const CONNECTION = 0;

/**
 * A socket of a connection that a listener like this server's has accepted; owns the descriptor. `new Socket({ fd })` asks
 * the kernel what the descriptor is, by four system calls; here it is what the server listens on: TCP, or a pipe.
 * @throws the system's error
 */
export function socketOf(server: Server, fd: number, options: SocketConstructorOpts): Socket {
  const { _handle: listening } = server as { _handle?: { constructor?: unknown } | null };
  const Handle = listening?.constructor as StreamHandleClass | undefined;
  if (typeof Handle !== 'function' || (Handle.name !== 'TCP' && Handle.name !== 'Pipe'))
    return new Socket({ ...options, fd });
  const handle = new Handle(CONNECTION);
  if (typeof handle.open !== 'function' || handle.open(fd) !== 0) {
    handle.close();
    return new Socket({ ...options, fd });
  }
  return new Socket({ ...options, handle } as SocketConstructorOpts);
}

/** The options of a net.Server that its accepted sockets get. */
interface ServerOptions {
  readonly allowHalfOpen?: boolean;
  readonly highWaterMark?: number;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
  /** In seconds, although its option is in milliseconds. */
  readonly keepAliveInitialDelay?: number;
}

/** A socket as the server would have accepted it, which reads only once the app asks for data. Takes the descriptor. */
export function adoptSocket(fd: number, server: Server): Socket {
  const {
    allowHalfOpen = false,
    highWaterMark,
    noDelay,
    keepAlive,
    keepAliveInitialDelay = 0,
  } = server as ServerOptions;
  const marks = highWaterMark !== undefined && {
    readableHighWaterMark: highWaterMark,
    writableHighWaterMark: highWaterMark,
  };
  const options = { fd, readable: true, writable: true, allowHalfOpen, pauseOnCreate: true, ...marks };
  const socket = new Socket(options);
  // Neither flowing nor paused: a 'data' listener is enough, where `pauseOnCreate` alone would ask for a resume() too.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  if (noDelay) socket.setNoDelay(true);
  if (keepAlive) socket.setKeepAlive(true, keepAliveInitialDelay * 1000);
  return socket;
}

/**
 * A socket on this descriptor as a server gets it with 'upgrade': it has not read, and begins to when somebody listens.
 * Takes the descriptor, counted by the server. @throws where Node does not take it
 */
export function socketForUpgrade(server: Server, fd: number): Socket {
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: true } as object);
  // As Node's HTTP server does before it emits 'upgrade': null is neither paused nor flowing.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  // And it says of one that has been upgraded that no parser is at it any more: see isUpgraded.
  (socket as { parser?: null }).parser = null;
  countConnection(server, socket);
  return socket;
}
