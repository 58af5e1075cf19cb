// Makes sockets of descriptors that another process accepted, as the server makes its own.
import { type Server, Socket, type SocketConstructorOpts } from 'node:net';

/**
 * Counts a connection that the server did not accept, so that `close()` waits for it, and `getConnections` and
 * `maxConnections` count it (FACTS C3b). Does nothing where this Node counts in another way.
 */
export function countConnection(server: Server, socket: Socket): void {
  const counting = server as { _connections?: number };
  if (typeof counting._connections !== 'number' || !('_server' in socket)) return;
  counting._connections += 1;
  (socket as { _server: Server | null })._server = server;
}

interface StreamHandleClass {
  new (type: number): { open(fd: number): number; close(): void; getAsyncId?(): number };
}

/** `TCPConstants.SOCKET` and `PipeConstants.SOCKET` of Node: the handle is of a connection, not of a listener. */
const CONNECTION = 0;

/**
 * Makes a socket of a connection that a listener of the same type as this server's has accepted. The socket owns the
 * descriptor. `new Socket({ fd })` asks the kernel for the type of the descriptor, by four system calls; here the handle is
 * made from the class of the server's own handle (FACTS C1a).
 * @throws the system's error, as `new Socket({ fd })`
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

/** The options of a net.Server that its accepted sockets inherit. */
interface ServerOptions {
  readonly allowHalfOpen?: boolean;
  readonly highWaterMark?: number;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
  /** Seconds. The option of the same name is in milliseconds. */
  readonly keepAliveInitialDelay?: number;
}

/**
 * Makes a socket with the options of the server's accepted sockets, which reads once the app asks for data. The socket owns
 * the descriptor. @throws the system's error
 */
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
  // null is neither flowing nor paused: a 'data' listener is enough to start. `pauseOnCreate` alone would require resume().
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  if (noDelay) socket.setNoDelay(true);
  if (keepAlive) socket.setKeepAlive(true, keepAliveInitialDelay * 1000);
  return socket;
}

/**
 * Makes a socket like those that a server emits with 'upgrade': it has read nothing, and begins when the app listens to 'data'.
 * The socket owns the descriptor, and the server counts it. @throws the system's error
 */
export function socketForUpgrade(server: Server, fd: number): Socket {
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: true } as object);
  // Node's HTTP server sets null, neither paused nor flowing, before it emits 'upgrade'.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  // Node's HTTP server also sets the parser of an upgraded connection to null, by which `isUpgraded` recognises it.
  (socket as { parser?: null }).parser = null;
  countConnection(server, socket);
  return socket;
}
