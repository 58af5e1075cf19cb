// A client that keeps a WebSocket: a request is a message and its echo, with the handshake where a connection is needed.
import { randomBytes } from 'node:crypto';
import { Client, type ClientContext } from './client.js';
import type { Connection, Exchange, Surroundings } from './connection.js';
import { Judge, type Loss } from './outcome.js';
import { isNamed, RequestText } from './request.js';
import type { ResponseReader } from './response.js';
import { acceptOf, type Message, MessageReader, maskedFrame, OPCODE } from './websocket.js';

const MESSAGE_BYTES_OF_CLOSE_CODE = 2;
/** Prefix of every message and its echo. The server sends messages without it on its own (a greeting, a heartbeat, news). */
const OURS = 'handover hammer ';

export class WebSocketClient extends Client {
  readonly #surroundings: Surroundings;
  readonly #key = randomBytes(16).toString('base64');
  readonly #handshake: RequestText;
  #messages = new MessageReader();
  /** The connection that speaks WebSocket. */
  #open: Connection | undefined;
  #exchange: Exchange | undefined;
  #sent = Buffer.alloc(0);
  /** The expected echo. */
  #echo = this.#sent;
  /** Number of messages sent on this connection. */
  #messagesSent = 0;
  /** The server that answered the handshake, until the first message is answered. */
  #identity: string | undefined;

  constructor(context: ClientContext) {
    super(context);
    this.#surroundings = { ...context, judge: new Judge({ statuses: [[101, 101]] }) };
    const { request } = context.plan;
    const upgrade = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${this.#key}`,
    ];
    const { body: _, ...shape } = request;
    const headers = [...request.headers.filter((header) => !isNamed(header, 'connection')), ...upgrade];
    this.#handshake = new RequestText({ ...shape, method: 'GET', path: request.webSocketPath, headers });
  }

  protected override get ends(): 'never' {
    return 'never';
  }

  protected override get surroundings(): Surroundings {
    return this.#surroundings;
  }

  protected override send(connection: Connection, exchanges: readonly Exchange[]): void {
    const [exchange] = exchanges;
    if (exchange === undefined) return;
    this.#exchange = exchange;
    this.#sent = Buffer.from(`${OURS}${exchange.number}`);
    this.#messagesSent++;
    this.#echo = this.#isCounted ? Buffer.from(`${this.#messagesSent} ${this.#sent}`) : this.#sent;
    if (this.#open === connection) connection.send(exchanges, this.#frame());
    else connection.send(exchanges, this.#handshake.of(exchange));
  }

  override answered(exchange: Exchange, _reader: ResponseReader): void {
    this.#exchange = undefined;
    this.succeed(exchange, this.#identity);
    this.#identity = undefined;
  }

  override lost(exchange: Exchange, loss: Loss): void {
    this.#exchange = undefined;
    const isCut = loss.kind === 'earlyClose' && this.#messages.isInside;
    super.lost(exchange, isCut ? { kind: 'short', detail: 'closed within a message' } : loss);
  }

  override ended(byServer: boolean): void {
    this.#open = undefined;
    this.#messagesSent = 0;
    this.#messages = new MessageReader();
    super.ended(byServer);
  }

  override upgraded(bytes: Buffer): void {
    const { connection } = this;
    if (connection === undefined) return;
    if (this.#open === undefined) {
      this.#opened(connection);
      return;
    }
    for (const message of this.#messages.push(bytes)) {
      if (this.#open === connection) this.#receive(connection, message);
    }
    const { complaint } = this.#messages;
    if (complaint !== undefined) connection.close({ kind: 'wrongBody', detail: complaint });
  }

  #opened(connection: Connection): void {
    const { fields } = this.reader.head;
    if (fields.get('sec-websocket-accept') !== acceptOf(this.#key)) {
      connection.close({ kind: 'wrongBody', detail: 'Sec-WebSocket-Accept is not the answer to the key' });
      return;
    }
    this.#open = connection;
    this.#identity = this.context.identifier?.inResponse(this.reader);
    if (this.#exchange !== undefined) connection.complete(this.#exchange, this.#frame());
  }

  #receive(connection: Connection, { opcode, payload }: Message): void {
    if (opcode === OPCODE.ping) {
      connection.begin([], maskedFrame(OPCODE.pong, payload).toString('latin1'));
      return;
    }
    if (opcode === OPCODE.close) {
      this.#closed(connection, payload);
      return;
    }
    const at = payload.indexOf(OURS);
    if (opcode === OPCODE.pong || (this.#isCounted ? at === -1 : at !== 0)) return;
    if (this.#exchange === undefined) {
      if (this.#isCounted) connection.unasked(payload.length);
      return;
    }
    if (!this.#echo.equals(payload)) {
      // The right echo may still follow, and would count as the echo of the next message.
      connection.close({ kind: 'wrongBody', detail: `${payload.length} bytes that are no echo of the message` });
      return;
    }
    connection.settle(undefined);
    this.idle();
  }

  get #isCounted(): boolean {
    return this.context.plan.request.countsEchoes === true;
  }

  #closed(connection: Connection, payload: Buffer): void {
    connection.begin(
      [],
      maskedFrame(OPCODE.close, payload.subarray(0, MESSAGE_BYTES_OF_CLOSE_CODE)).toString('latin1'),
    );
    connection.closedByPeer();
  }

  #frame(): string {
    return maskedFrame(OPCODE.text, this.#sent).toString('latin1');
  }
}
