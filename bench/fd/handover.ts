// Contestant: this package, through its public calls.
//   stdin: MODE DESCRIPTORS-A-MESSAGE MESSAGES   stdout: nanoseconds
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { closeFds, FdSocket, MAX_FDS_PER_MESSAGE, recvFds, sendFds, socketpair } from 'handover/fd';
import { answerLines } from '../lib/contestant.js';
import { connect, descriptorsOf } from './connection.js';

const BYTE = Buffer.from('x');

const connection = await connect();
const descriptors = descriptorsOf(connection.socket, MAX_FDS_PER_MESSAGE);
const peer = startPeer();
await passOne(peer, descriptors.slice(0, 1)); // it takes that long to start

await answerLines((line) => {
  const [mode, perMessage, messages] = line.split(' ');
  const fds = descriptors.slice(0, Number(perMessage));
  return mode === 'one-process' ? oneProcess(fds, Number(messages)) : twoProcesses(fds, Number(messages));
});
peer.close();
closeFds(descriptors);
connection.close();

function oneProcess(fds: Int32Array, messages: number): bigint {
  const [left, right] = socketpair();
  const started = process.hrtime.bigint();
  for (let i = 0; i < messages; i++) {
    sendFds(left, BYTE, fds);
    const received = recvFds(right);
    if (received.fds.length !== fds.length) throw new Error(`${received.fds.length} descriptors, not ${fds.length}`);
    closeFds(received.fds);
  }
  const elapsed = process.hrtime.bigint() - started;
  closeFds([left, right]);
  return elapsed;
}

async function twoProcesses(fds: Int32Array, messages: number): Promise<bigint> {
  const started = process.hrtime.bigint();
  for (let i = 0; i < messages; i++) await passOne(peer, fds);
  return process.hrtime.bigint() - started;
}

async function passOne(socket: FdSocket, fds: Int32Array): Promise<void> {
  await socket.send(BYTE, fds);
  if ((await socket.receive()) === undefined) throw new Error('the peer ended');
}

function startPeer(): FdSocket {
  const [ours, theirs] = socketpair();
  const program = fileURLToPath(new URL('handover-peer.ts', import.meta.url));
  spawn(process.execPath, [...process.execArgv, program], { stdio: ['ignore', 'ignore', 'inherit', theirs] });
  closeFds([theirs]);
  return new FdSocket(ours);
}
