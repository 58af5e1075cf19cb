// The hello app in fastify, made anew in the same process by @fastify/restartable on SIGUSR2. Answers are signed with pid
// and instance.
import process from 'node:process';
import { restartable } from '@fastify/restartable';

let instances = 0;

async function create(fastify, options) {
  const app = fastify(options);
  const signature = `${process.pid}.${++instances}`;
  app.get('/', (_request, reply) => reply.header('x-pid', signature).type('text/plain').send('hello\n'));
  return app;
}

const app = await restartable(create, { keepAliveTimeout: 65_000 });
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
process.stderr.write('serving\n');
process.on('SIGUSR2', async () => {
  await app.restart();
  process.stderr.write('restarted\n');
});
process.once('SIGTERM', () => process.exit(0));
