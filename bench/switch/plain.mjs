// The app with nothing around it: a signal ends it at once.
import process from 'node:process';
import { createServer, mark } from '../workers/app.mjs';

createServer()
  .once('connection', () => mark('accepted'))
  .listen(Number(process.env.PORT), '127.0.0.1', () => mark('accepting'));
