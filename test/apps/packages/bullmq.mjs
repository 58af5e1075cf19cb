// A BullMQ worker as its documentation has it, beside a server that says how many jobs are active: PORT, REDIS_PORT.
import { createServer } from 'node:http';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const { PORT, REDIS_PORT } = process.env;
const connection = { host: '127.0.0.1', port: Number(REDIS_PORT), maxRetriesPerRequest: null };
const redis = new Redis(connection);

const worker = new Worker(
  'jobs',
  async (job) => {
    await redis.rpush('begun', `${job.name} ${process.pid}`);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await redis.rpush('done', `${job.name} ${process.pid}`);
  },
  { connection, concurrency: 2, lockDuration: 5_000 },
);

createServer((_, response) => response.end('working\n')).listen(Number(PORT));

process.on('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
