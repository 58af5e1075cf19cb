// The traffic of a case.
import type { Client, Target } from './client.js';

/** 300 that are idle: the window of four batches is full, and a fifth waits. The busy ones follow one by one. */
const FLEET = { idle: 300, busy: 24 };

/** Connections that stay and fresh ones, over TCP and by path. */
export function load(client: Client, tcp: Target, unix: Target): void {
  client.loop({ target: tcp, fresh: false, think: 20 });
  client.loop({ target: tcp, fresh: false, think: 40, takes: 15 });
  client.loop({ target: unix, fresh: false, think: 40 });
  client.loop({ target: tcp, fresh: true, think: 40 });
  client.loop({ target: tcp, fresh: true, think: 40, takes: 10 });
  client.loop({ target: unix, fresh: true, think: 40 });
}

/** Those that move. `isEnding`: nobody serves in the end, and being told to close is no failure. */
export async function openFleet(client: Client, target: Target, isEnding: boolean): Promise<void> {
  await client.fleet(target, FLEET.idle, !isEnding);
  for (let i = 0; !isEnding && i < FLEET.busy; i++) {
    client.loop({ target, fresh: false, think: 5, takes: Math.floor(Math.random() * 400), stays: true });
  }
}
