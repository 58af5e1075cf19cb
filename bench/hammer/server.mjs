// A plain Node server for the load clients. Says its port on stdout; ends with its stdin.
import { createServer } from 'node:http';
import process from 'node:process';

const server = createServer((_, response) => response.end('hello\n'));
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
process.stdin.on('end', () => process.exit()).resume();
