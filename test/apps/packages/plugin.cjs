// The plugin that fastify-cli serves.
module.exports = async (fastify, _options) => {
  fastify.get('/', async () => ({ fastify: true }));
};
