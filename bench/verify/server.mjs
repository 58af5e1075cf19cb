// The server `npm run verify` hands over, and what it says of itself: a ledger of every request in a file, a count of its
// answers that goes from generation to generation as kept state, and how each generation ended.
//
//   VERIFY_PORT, VERIFY_RAW_PORT   where it listens on 127.0.0.1
//   VERIFY_LEDGER                  gets `begin N` and `end N` for each numbered request and message
//   VERIFY_STATE                   a directory for the pid file and the control socket
//   VERIFY_PROBATION               milliseconds
//   VERIFY_SUPERVISED              under `handover run`, which has the pid file's and the control socket's part
//   VERIFY_PARENT                  pid of the soak: it all ends with it
import { openSync, writeSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import process from 'node:process';
import { serve } from 'handover';
import { isMigrated, migrateWebSockets } from 'handover/websocket';
import { WebSocketServer } from 'ws';
import { BODY } from './body.mjs';

const { VERIFY_PORT, VERIFY_RAW_PORT, VERIFY_LEDGER, VERIFY_STATE, VERIFY_PROBATION } = process.env;
const { VERIFY_SUPERVISED, VERIFY_PARENT } = process.env;

/** Each eighth request takes so long, so that some are under way at every handover. */
const SLOW_TIME = 100;
const PARENT_INTERVAL = 2_000;
const host = '127.0.0.1';

/**
 * What tests break on purpose; each is optional.
 * @typedef {object} Faults
 * @property {(handover: import('handover').Handover, server: http.Server) => void} [setup]
 * @property {(call: Call) => boolean} [request] Takes the request over: true.
 * @property {(generation: number) => number | undefined} [exitCode]
 */

/**
 * @typedef {object} Call
 * @property {number} number
 * @property {http.IncomingMessage} request
 * @property {http.ServerResponse} response
 * @property {Account} account
 */

/** Answers, counted over all generations: `keep` is asked at COMMIT, what is answered after it is told at the exit. */
class Account {
  own = { http: 0, raw: 0 };
  late = { http: 0, raw: 0 };
  inherited = { http: 0, raw: 0 };
  #isPassedOn = false;
  #ledger = openSync(VERIFY_LEDGER, 'a');

  begin(number) {
    writeSync(this.#ledger, `begin ${number}\n`);
  }

  end(number) {
    writeSync(this.#ledger, `end ${number}\n`);
    this.answered('http');
  }

  answered(kind) {
    this.own[kind]++;
    if (this.#isPassedOn) this.late[kind]++;
  }

  get total() {
    const sum = (kind) => this.inherited[kind] + this.own[kind];
    return { http: sum('http'), raw: sum('raw') };
  }

  passOn() {
    this.#isPassedOn = true;
    return Buffer.from(JSON.stringify(this.total));
  }
}

/** @param {Faults} faults */
export async function start(faults = {}) {
  const account = new Account();
  // Node's default of 5 s for idle connections is no doing of a handover.
  const server = http.createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
    const number = Number(request.headers['x-request-number']);
    account.begin(number);
    if (faults.request?.({ number, request, response, account })) return;
    const answer = () => {
      response.setHeader('x-pid', process.pid).setHeader('content-length', BODY.length).end(BODY);
      account.end(number);
    };
    if (number % 8 === 0) setTimeout(answer, SLOW_TIME);
    else answer();
  });
  const wss = echo(server, account);
  const { server: raw, migrate } = counting(account);
  if (VERIFY_PARENT) setInterval(endWithParent, PARENT_INTERVAL).unref();
  await serve(server, {
    port: Number(VERIFY_PORT),
    host,
    probation: { duration: Number(VERIFY_PROBATION) },
    log: { info: log('info'), warn: log('warn'), error: log('error') },
    ...(VERIFY_SUPERVISED ? {} : { pidFile: `${VERIFY_STATE}/pid`, control: `${VERIFY_STATE}/control.sock` }),
    async setup(handover) {
      tellExit(handover, account, faults);
      migrateWebSockets(handover, wss, { save: () => ({}), restore: () => {} });
      handover.keep('answered', () => account.passOn());
      handover.whenInCharge(() => {
        const kept = handover.inherited('answered');
        if (kept !== undefined) account.inherited = JSON.parse(kept.bytes().toString());
      });
      faults.setup?.(handover, server);
      await handover.listen(raw, { name: 'raw', port: Number(VERIFY_RAW_PORT), host, migrate });
    },
  });
}

/** A soak that was killed cannot end its servers. */
function endWithParent() {
  try {
    process.kill(Number(VERIFY_PARENT), 0);
  } catch {
    process.kill(VERIFY_SUPERVISED ? process.ppid : process.pid, 'SIGTERM');
  }
}

function tellExit(handover, account, { exitCode }) {
  process.on('exit', (code) => {
    process.exitCode = exitCode?.(handover.generation) ?? code;
    const { total, late } = account;
    say({ event: 'exit', generation: handover.generation, code: process.exitCode, answered: total, late });
  });
}

/** The message of `handover hammer` ends with the number of the request. */
function echo(server, account) {
  const wss = new WebSocketServer({ server, path: '/echo', perMessageDeflate: false });
  wss.on('connection', (ws, request) => {
    if (!isMigrated(request)) ws.on('error', () => {});
    ws.on('message', (message, isBinary) => {
      const number = Number(/\d+$/.exec(message.toString())?.[0]);
      account.begin(number);
      ws.send(message, { binary: isBinary });
      account.end(number);
    });
  });
  return wss;
}

/** Raw connections: each line comes back with how many came before it on its connection, in whatever generation. */
function counting(account) {
  const talks = new Map();
  const talk = (socket, state) => {
    talks.set(socket, state);
    socket.on('error', () => {});
    socket.on('close', () => talks.delete(socket));
    socket.on('data', (bytes) => {
      const lines = (state.rest + bytes.toString('latin1')).split('\n');
      state.rest = lines.pop();
      for (const line of lines) {
        socket.write(`${state.count++} ${line}\n`);
        account.answered('raw');
      }
    });
  };
  const server = net.createServer((socket) => talk(socket, { count: 0, rest: '' }));
  return { server, migrate: { save: (socket) => talks.get(socket), restore: talk } };
}

function say(fields) {
  process.stderr.write(`${JSON.stringify({ pid: process.pid, ...fields })}\n`);
}

function log(level) {
  return (fields, msg) => say({ level, ...fields, msg });
}
