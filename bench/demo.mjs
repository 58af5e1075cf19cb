// `npm run demo`: a server is replaced under load, again and again, and every answer is checked.

import process from 'node:process';
import { main } from './demo/main.mjs';

process.exitCode = await main(process.argv.slice(2));
