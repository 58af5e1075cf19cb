// Holds connections in a process of its own and does with them what it is told by IPC: { do, ... } in, { ns } or what was
// found out. Ends with the channel.
import net from 'node:net';
import tls from 'node:tls';

/** Connections being opened, or requests under way, at a time. */
const CONCURRENCY = 32;
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';
const END = Buffer.from('hello\n');

/** @type {net.Socket[]} */
let held = [];
let closed = 0;

const deeds = {
  /** Opens connections and keeps them. */
  async open({ count, port, localAddress }) {
    await eachOf(count, async () => held.push(await connect({ port, localAddress })));
    return { held: held.length };
  },
  /** One request on each. */
  async ask() {
    await eachOf(held.length, (index) => request(held[index]));
    return { closed };
  },
  /** As many new connections, closed again: what it would cost without moving. A whole handshake each with TLS. */
  async reconnect({ count, port, localAddress, isTls }) {
    const sockets = [];
    const started = process.hrtime.bigint();
    await eachOf(count, async () => sockets.push(await connect({ port, localAddress, isTls })));
    const ns = Number(process.hrtime.bigint() - started);
    for (const socket of sockets) socket.destroy();
    return { ns };
  },
  /** The first request on moved connections, one at a time, each beside one on a connection that is in use. */
  async probe({ count, port, localAddress }) {
    const ordinary = [];
    await eachOf(count, async () => ordinary.push(await connect({ port, localAddress })));
    for (const socket of ordinary) await request(socket);
    const samples = { first: [], ordinary: [] };
    for (let i = 0; i < count; i++) {
      // Neither is always the one that finds the caches warm.
      const pair = [
        ['first', held[i]],
        ['ordinary', ordinary[i]],
      ];
      for (const [name, socket] of i % 2 === 0 ? pair : pair.reverse()) samples[name].push(await timed(socket));
    }
    for (const socket of ordinary) socket.destroy();
    return samples;
  },
  /** Requests on so many connections for so long. */
  async load({ port, connections, ms }) {
    const sockets = await Promise.all(Array.from({ length: connections }, () => connect({ port })));
    const started = performance.now();
    let requests = 0;
    await Promise.all(
      sockets.map(async (socket) => {
        for (; performance.now() - started < ms; requests++) await request(socket);
      }),
    );
    const seconds = (performance.now() - started) / 1_000;
    for (const socket of sockets) socket.destroy();
    return { perSecond: requests / seconds };
  },
  async drop() {
    for (const socket of held) socket.removeAllListeners('close').destroy();
    held = [];
    return {};
  },
};

process.on('message', async ({ do: deed, ...order }) => {
  try {
    process.send(await deeds[deed](order));
  } catch (error) {
    process.send({ error: String(error) });
  }
});
process.on('disconnect', () => process.exit());

async function eachOf(count, act) {
  let next = 0;
  const worker = async () => {
    while (next < count) await act(next++);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

function connect({ port, localAddress, isTls = false }) {
  return new Promise((resolve, reject) => {
    const where = { port, host: '127.0.0.1', localAddress, noDelay: true };
    const socket = isTls ? tls.connect({ ...where, rejectUnauthorized: false }) : net.connect(where);
    socket.on('error', reject);
    socket.on('close', () => closed++);
    socket.once(isTls ? 'secureConnect' : 'connect', () => resolve(socket));
  });
}

function request(socket) {
  return new Promise((resolve, reject) => {
    const onData = (chunk) => {
      if (!chunk.subarray(-END.length).equals(END)) return;
      socket.off('data', onData).off('close', onClose);
      resolve();
    };
    const onClose = () => reject(new Error('the server closed a connection'));
    socket.on('data', onData).on('close', onClose);
    socket.write(REQUEST);
  });
}

async function timed(socket) {
  const started = process.hrtime.bigint();
  await request(socket);
  return Number(process.hrtime.bigint() - started) / 1_000;
}
