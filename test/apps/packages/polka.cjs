// polka, with CommonJS: PORT.
const polka = require('polka');

polka()
  .get('/', (_, response) => response.end('polka\n'))
  .listen(Number(process.argv[2]));
