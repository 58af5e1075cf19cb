// The same app for every contestant. With 65 s, as behind a load balancer, no connection ends by itself meanwhile.
import http from 'node:http';
import process from 'node:process';

export const body = 'hello\n';

export function createServer() {
  return http.createServer({ keepAliveTimeout: 65_000 }, (_request, response) => {
    response.setHeader('x-pid', process.pid).setHeader('content-length', body.length).end(body);
  });
}

/** Tells on stdout when something happened, in nanoseconds of the clock all processes share; where it is wanted. */
export function mark(event, at = process.hrtime.bigint()) {
  if (process.env.BENCH_MARKS) process.stdout.write(`${JSON.stringify({ event, pid: process.pid, at: String(at) })}\n`);
}
