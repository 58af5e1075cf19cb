// The kinds of clients that speak HTTP: each sends requests, and uses its connection between two of them, in its own way.
import { Client, type ClientContext } from './client.js';
import type { Connection, Exchange } from './connection.js';
import type { ClientKind } from './plan.js';
import { WebSocketClient } from './websocket-client.js';

/** The `index`th client of a kind. */
export function createClient(kind: ClientKind, index: number, context: ClientContext): Client {
  switch (kind) {
    case 'keep-alive':
      return new KeepAliveClient(context);
    case 'new':
      // Half of the clients announce the close, half do not, because a server must handle both.
      return new OneShotClient(context, index % 2 === 0 ? 'announced' : 'silently');
    case 'idle':
      return new IdleClient(context);
    case 'pipelined':
      return new PipeliningClient(context);
    case 'half-sent':
      return new HalfSendingClient(context);
    case 'websocket':
      return new WebSocketClient(context);
  }
}

class KeepAliveClient extends Client {
  protected override send(connection: Connection, exchanges: readonly Exchange[]): void {
    const [exchange] = exchanges;
    if (exchange !== undefined) connection.send(exchanges, this.context.text.of(exchange));
  }
}

class OneShotClient extends KeepAliveClient {
  readonly #ends: 'silently' | 'announced';

  constructor(context: ClientContext, ends: 'silently' | 'announced') {
    super(context);
    this.#ends = ends;
  }

  protected override get ends(): 'silently' | 'announced' {
    return this.context.text.closes ? 'announced' : this.#ends;
  }
}

class IdleClient extends KeepAliveClient {
  /** A random pause from half of `idle` to all of it, so that the clients do not wake up together. */
  protected override get pause(): number {
    return this.context.plan.idle * (1 - Math.random() / 2);
  }
}

class PipeliningClient extends Client {
  protected override get depth(): number {
    return this.context.plan.depth;
  }

  protected override send(connection: Connection, exchanges: readonly Exchange[]): void {
    connection.send(exchanges, exchanges.map((exchange) => this.context.text.of(exchange)).join(''));
  }
}

class HalfSendingClient extends Client {
  protected override send(connection: Connection, exchanges: readonly Exchange[]): void {
    const [exchange] = exchanges;
    if (exchange === undefined) return;
    const text = this.context.text.of(exchange);
    const cut = 1 + Math.floor(Math.random() * (text.length - 1));
    connection.begin(exchanges, text.slice(0, cut));
    const begunAt = this.context.clock();
    this.context.naps.after(this.context.plan.halfPause, () => {
      const now = this.context.clock();
      // The pause is the client's own, so the latency counts from the second half. A pause whose connection could not be made
      // overlaps the next one, and does not count.
      if (connection.complete(exchange, text.slice(cut))) exchange.intendedAt += now - begunAt;
    });
  }
}
