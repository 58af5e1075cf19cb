// The app as a worker of `handover run`.
import { serve } from 'handover';
import { createServer } from './app.mjs';

await serve(createServer(), { port: Number(process.env.PORT), host: '127.0.0.1' });
