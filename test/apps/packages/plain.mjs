// A server of three lines that knows nothing of handovers: PORT.
import { createServer } from 'node:http';

createServer((_, response) => response.end('plain\n')).listen(Number(process.env.PORT));
