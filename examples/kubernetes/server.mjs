// The server of the two manifests beside this file. In a Deployment the preStop hook drains it by its control socket; in a
// DaemonSet with hostNetwork the next pod on the node takes over from it by the takeover socket in a shared folder.
import http from 'node:http';
import { openHandover } from 'handover';

const { PORT = '8080', HEALTH_PORT = '9090', CONTROL, TAKEOVER } = process.env;

const handover = await openHandover({
  health: { endpoint: { port: Number(HEALTH_PORT) } },
  drain: { timeout: 20_000 },
  ...(CONTROL && { control: CONTROL }),
  ...(TAKEOVER && { takeover: TAKEOVER }),
});

const server = http.createServer((_request, response) => {
  response.setHeader('x-pid', process.pid);
  const body = `hello from generation ${handover.generation}\n`;
  response.setHeader('content-length', Buffer.byteLength(body));
  response.end(body);
});
await handover.listen(server, { name: 'web', port: Number(PORT) });

// A container that ends before its pod is deleted is started again by the kubelet, and in a DaemonSet it would take
// everything back from the pod that has just taken over: so this process ends on SIGTERM, and not when it is superseded.
const staysUntilTold = setInterval(() => {}, 60_000);
process.once('SIGTERM', async () => {
  await handover.close();
  clearInterval(staysUntilTold);
});

await handover.ready();
await handover.closed;
process.stdout.write(`generation ${handover.generation} has drained\n`);
