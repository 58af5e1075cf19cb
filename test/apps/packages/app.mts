// A server in TypeScript that tsx runs: PORT.
import { createServer } from 'node:http';

const port: number = Number(process.argv[2] ?? process.env.PORT);
createServer((_, response) => response.end('typescript\n')).listen(port);
