// G2: a connection that moved and stays idle for longer than the header timeout gets a 200 for its next request, not the
// 408 that Node sends to a connection which was opened and kept silent (FACTS C3a).
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Drained, generation, idle, replace } from './generations.js';

expectNoLeaks();
const { chain } = useApps();

interface Idling {
  /** Properties of the http.Server in every process but the first, where a slow machine would meet these timeouts. */
  readonly server: Readonly<Record<string, number>>;
  readonly handovers: number;
  /** Milliseconds after the last handover: at each of them some clients ask again. */
  readonly moments: readonly number[];
}

async function answersAfter({ server, handovers, moments }: Idling): Promise<void> {
  const { chain: processes, first } = await chain([
    generation({ server: { keepAliveTimeout: 120_000 } }),
    generation({ server }),
  ]);
  // Every other one has been used before; the rest, silent from the start, is what header timeouts are for, and goes.
  const used = (await idle(first, moments.length * 8)).filter((client, i) => i % 2 === 0 || void client.close());
  let app = first;
  for (let number = 2; number <= handovers + 1; number++) {
    const replaced = await replace(processes, app, number);
    expect(replaced.drained).toMatchObject<Partial<Drained>>({ cut: 0 });
    app = replaced.app;
  }
  const moved = performance.now();
  for (const moment of moments) {
    await pause(moved + moment - performance.now());
    const clients = used.splice(0, 4);
    const answers = await Promise.all(clients.map((client) => client.ask('/again')));
    expect(answers.map(({ status, pid }) => [moment, status, pid])).toEqual(Array(4).fill([moment, 200, app.pid]));
    for (const client of clients) client.close();
  }
  expect(used).toEqual([]);
  await app.close();
}

it.each([1, 2])('asked again around and long after a header timeout of 300 ms, %i handovers later', (handovers) =>
  answersAfter({
    server: {
      headersTimeout: 300,
      requestTimeout: 300,
      // Node looks for those that are late that often.
      connectionsCheckingInterval: 20,
      keepAliveTimeout: 60_000,
    },
    handovers,
    moments: [250, 280, 300, 310, 320, 340, 360, 400, 1_200],
  }));

// Node's own header timeout is 60 s, and it looks every 30 s.
it.runIf(process.env.HANDOVER_SOAK)(
  "asked again 61 s and up to 95 s later, with Node's own timeouts",
  () =>
    answersAfter({ server: { keepAliveTimeout: 120_000 }, handovers: 1, moments: [55_000, 61_000, 66_000, 95_000] }),
  120_000,
);
