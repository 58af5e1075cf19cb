// Contestant: Node's own handle passing, `process.send(message, handle)` to a child.
//   stdin: two-process HANDLES-BEFORE-AN-ANSWER TIMES   stdout: nanoseconds
// It has no message with several handles: what counts as one here is a burst of them, answered once by the application.
// The sockets stay open in the sender (`keepOpen`), so that it pays neither for closing nor for making new ones.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { answerLines } from '../lib/contestant.js';
import { connect } from './connection.js';

const connection = await connect();
const child: ChildProcess = fork(fileURLToPath(new URL('node-ipc-peer.ts', import.meta.url)), {
  stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
});
await burst(1); // it takes that long to start

await answerLines(async (line) => {
  const [, perMessage, messages] = line.split(' ').map(Number) as [number, number, number];
  const started = process.hrtime.bigint();
  for (let i = 0; i < messages; i++) await burst(perMessage);
  return process.hrtime.bigint() - started;
});
child.disconnect();
connection.close();

function burst(handles: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (): void => reject(new Error('the child ended'));
    child.once('disconnect', failed);
    child.once('message', () => {
      child.off('disconnect', failed);
      resolve();
    });
    for (let left = handles; left > 0; left--) child.send(left, connection.socket, { keepOpen: true });
  });
}
