// One of the processes behind a port: the hello app, on a listener it inherits as descriptor 3, or on one of its own with
// SO_REUSEPORT. Says its port by IPC; asked, what it has done since its start. Ends with the channel.
import { existsSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { bindListener } from 'handover/fd';
import { createServer } from '../workers/app.mjs';

const [, , way, port] = process.argv;
const server = createServer();
let connections = 0;
/** Turns of the event loop in which something happened to a connection, and the last of them. */
let used = 0;
let lastUsed = -1;

function use() {
  const { loopCount } = performance.nodeTiming.uvMetricsInfo;
  if (loopCount !== lastUsed) used++;
  lastUsed = loopCount;
}

server.on('connection', (socket) => {
  connections++;
  use();
  // Not 'data': with a listener Node's parser no longer reads by itself.
  for (const event of ['finish', 'end', 'close']) socket.on(event, use);
});
server.on('request', use);

const fd = way === 'shared' ? 3 : bindListener({ port: Number(port), host: '127.0.0.1', reusePort: true });
server.listen({ fd }, () => process.send({ port: server.address().port }));

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const { loopCount } = performance.nodeTiming.uvMetricsInfo;
  process.send({ connections, cpuUs: user + system, wakeUps: wakeUps(), emptyTurns: loopCount - used });
});
process.on('disconnect', () => process.exit());

/** How often this thread has slept: it was woken as often. Where there is no /proc, with the threads of V8. */
function wakeUps() {
  if (!existsSync('/proc/self/status')) return process.resourceUsage().voluntaryContextSwitches;
  const [, switches] = /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  return Number(switches);
}
