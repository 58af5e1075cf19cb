// The same app for every contestant. With 65 s, as behind a load balancer, no connection ends by itself meanwhile.
import http from 'node:http';
import process from 'node:process';

export const body = 'hello\n';

export function createServer() {
  return http.createServer({ keepAliveTimeout: 65_000 }, (_request, response) => {
    response.setHeader('x-pid', process.pid).setHeader('content-length', body.length).end(body);
  });
}
