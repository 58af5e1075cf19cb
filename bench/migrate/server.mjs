// The process that is measured, and each of its successors: hands over on SIGUSR2, and tells by JSON lines on stdout, which
// every generation inherits, when what happened (CLOCK_MONOTONIC, nanoseconds: the same clock in all of them).
import { channel } from 'node:diagnostics_channel';
import http from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { openHandover } from 'handover';
import { answer } from './answer.mjs';

const delays = monitorEventLoopDelay({ resolution: 1 });
const times = {};

function say(event, fields) {
  const texts = Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === 'bigint' ? String(value) : value,
  ]);
  process.stdout.write(`${JSON.stringify({ event, pid: process.pid, ...Object.fromEntries(texts) })}\n`);
}

const onSent = {
  COMMIT: (now) => {
    times.commit = now;
  },
  OFFER: (now) => {
    times.firstOffer ??= now;
  },
  GO: (now) => {
    times.lastGo = now;
  },
};
const onReceived = {
  COMMIT: () => delays.enable(),
  GO: (now) => {
    times.adopted = now;
  },
  RETIRE: () => {
    delays.disable();
    // In the turn of the last GO, or a later one: all of them are parked.
    setImmediate(() => {
      say('adopted', { adopted: times.adopted ?? 0n, longestDelay: delays.max });
      delete times.adopted;
    });
  },
};
channel('handover:frame').subscribe(({ direction, name }) => {
  (direction === 'sent' ? onSent : onReceived)[name]?.(process.hrtime.bigint());
});
channel('handover:drained').subscribe(({ moved, cut }) => {
  say('moved', { moved, cut, ...times, settled: process.hrtime.bigint() });
});

const server = http.createServer({ keepAliveTimeout: 600_000 }, answer);
// The machine's memory and its owner are not what is measured.
const handover = await openHandover({
  probation: { duration: 0 },
  drain: { timeout: 60_000 },
  preflight: { memory: false },
  allowOrphan: true,
});
process.on('SIGUSR2', () => {
  handover.upgrade().catch((error) => say('failed', { message: String(error) }));
});
process.on('SIGTERM', () => void handover.close());
await handover.listen(server, { port: Number(process.argv[2]), host: '127.0.0.1' });
await handover.ready();
say('serving', { port: server.address().port });
