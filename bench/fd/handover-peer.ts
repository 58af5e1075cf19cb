// The receiving process of handover.ts: takes what comes on descriptor 3, closes it, acknowledges.
import { closeFds, FdSocket } from 'handover/fd';

const BYTE = Buffer.from('x');
const socket = new FdSocket(3);

for await (const { fds } of socket) {
  closeFds(fds);
  await socket.send(BYTE);
}
socket.close();
