// The functions of an app that migrates its own connections: it saves its state of one, and restores it in the successor.
import type { Socket } from 'node:net';

/**
 * Migrates live connections of a `net.Server`, or of an `http.Server` whose connections the app sees before Node's HTTP
 * does, with the app's state of each.
 */
export interface Migration<State = unknown> {
  /**
   * Called once for each connection when the migration starts. From this call on the app gets no more bytes of the
   * connection; bytes that the app has written by the time the state is there are sent first. Returns the state, a
   * `Uint8Array` or a JSON value, or undefined: the connection stays until it ends. The app hears no more of a connection
   * that migrates. For an `http.Server`: called between two requests, and must return the state itself, not a promise,
   * because the client may send the next request.
   */
  save(socket: Socket): State | undefined | Promise<State | undefined>;
  /**
   * Called in the successor, in place of 'connection'. The socket first gives the bytes that had come and were not
   * consumed, and reads once the app asks for data. If this function throws, the connection ends. For an `http.Server`:
   * called when the first byte of the next request has come; it should not read, and when it has settled, Node's HTTP does.
   */
  restore(socket: Socket, state: State): unknown;
  /**
   * Called when a connection whose state was saved stays after all, because the successor refused it or failed. The app
   * resumes what `save` has stopped; bytes that came meanwhile follow.
   */
  stay?(socket: Socket): unknown;
}
