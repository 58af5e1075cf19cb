// listhen finds a port and listens by itself: PORT.
import { listen } from 'listhen';

await listen((_, response) => response.end('listhen\n'), {
  port: Number(process.argv[2]),
  hostname: '127.0.0.1',
  showURL: false,
  isProd: true,
});
