// A server that asks a package for a free port before it listens, as development servers do: PACKAGE, PORT.
import { createServer } from 'node:http';

const [, , name, preferred] = process.argv;
const port = Number(preferred);

const finders = {
  'get-port': async () => (await import('get-port')).default({ port }),
  portfinder: async () => (await import('portfinder')).default.getPortPromise({ port }),
  'detect-port': async () => (await import('detect-port')).detect(port),
  'get-port-please': async () => (await import('get-port-please')).getPort({ port, portRange: [port, port + 10] }),
};

const found = await finders[name]();
createServer((_, response) => response.end('found\n')).listen(found);
process.stderr.write(`${name} found ${found}, wanted ${port}\n`);
