// A server that allows a request more time than the drain does: one warning, and none for what nobody chose.
import { createServer } from 'node:http';
import { createServer as createRaw } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { warnOfTimeouts } from '../../lib/process/request-timeout-warning.js';
import type { Listener } from '../../lib/process/types.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { boot, useApps } from './apps.js';

expectNoLeaks();
const { chain } = useApps();

/** What the process is warned of. */
function warnings(): Error[] {
  const heard: Error[] = [];
  const hear = (warning: Error): void => void heard.push(warning);
  process.on('warning', hear);
  onTestFinished(() => void process.off('warning', hear));
  return heard;
}

async function warnedOf(...listeners: readonly Listener[]): Promise<Error[]> {
  const heard = warnings();
  for (const listener of listeners) warnOfTimeouts(listener, 'web', 30_000);
  // They are emitted in the next tick.
  await new Promise((resolve) => setImmediate(resolve));
  return heard;
}

const MESSAGE = '"web" allows a request more than the drain.timeout of 30000 ms, after which it is cut: ';

it.each([
  [{ requestTimeout: 120_000 }, 'requestTimeout 120000 ms'],
  [{ headersTimeout: 40_000 }, 'headersTimeout 40000 ms'],
  [{ requestTimeout: 0 }, 'requestTimeout 0 (for ever)'],
  [{ requestTimeout: 90_000, headersTimeout: 31_000 }, 'requestTimeout 90000 ms, headersTimeout 31000 ms'],
])('%o is warned of, once for each server', async (options, expected) => {
  const server = createServer(options);
  expect(await warnedOf(server, server)).toMatchObject([
    { name: 'HandoverWarning', code: 'HANDOVER_DRAIN_TIMEOUT', message: MESSAGE + expected },
  ]);
});

it("not of Node's defaults, of what is short enough, or of servers that have no such timeout", async () => {
  const servers = [
    createServer(),
    createServer({ requestTimeout: 30_000 }),
    createServer({ requestTimeout: 10_000 }),
    createServer({ headersTimeout: 5_000 }),
    Object.assign(createServer(), { requestTimeout: 20_000 }),
    createRaw(),
  ];
  expect(await warnedOf(...servers)).toEqual([]);
});

it('listen() says it on stderr', async () => {
  const { chain: processes, first } = await chain(
    boot(async (inside) => {
      const server = process.getBuiltinModule('node:http').createServer({ requestTimeout: 90_000 });
      await inside.open({ probation: { duration: 0 } });
      await inside.handover.listen(server, { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    }),
  );
  await processes.program.errorLine(
    /\[HANDOVER_DRAIN_TIMEOUT\] HandoverWarning: "web" allows .* 30000 ms, .*: requestTimeout 90000 ms$/,
  );
  await first.close();
});
