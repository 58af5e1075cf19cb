// hapi, which stops by its own SIGTERM handler as its guide says: PORT.
import Hapi from '@hapi/hapi';

const server = Hapi.server({ port: Number(process.argv[2]), host: '127.0.0.1' });
server.route({ method: 'GET', path: '/', handler: () => 'hapi\n' });
await server.start();
process.on('SIGTERM', async () => {
  await server.stop({ timeout: 10_000 });
  process.exit(0);
});
