// How the app itself migrates its connections: what it knows of one, saved in one process and restored in the next.
import type { Socket } from 'node:net';

/**
 * How live connections of a `net.Server` move, or of an `http.Server` whose connections the app sees before Node's HTTP
 * does: what the app knows of one, out of this process and into the next.
 */
export interface Migration<State = unknown> {
  /**
   * Asked once for each connection when the move starts. From this call on the app gets no more bytes of it; what it has
   * written by the time the state is there is sent first. The state is a `Uint8Array` or a JSON value; undefined: this one
   * stays until it ends. It is the last the app hears of a connection that moves. For an `http.Server`: called between two
   * requests, and the state must be there at once, because the client may send the next one.
   */
  save(socket: Socket): State | undefined | Promise<State | undefined>;
  /**
   * Called in the successor, in place of 'connection'. Bytes that had come and were not consumed are read first. The socket
   * reads once the app asks for data. One that throws ends the connection. For an `http.Server`: called when the first byte
   * of the next request has come; it should not read, and when it has settled Node's HTTP does.
   */
  restore(socket: Socket, state: State): unknown;
  /**
   * Called where one whose state was saved stays after all: the successor refused it, or failed. What `save` stopped goes on;
   * bytes that came meanwhile follow.
   */
  stay?(socket: Socket): unknown;
}
