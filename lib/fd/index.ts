// `handover/fd`: typed system calls around descriptors, for authors of other tools.
export type { SystemError } from '../errors.js';
export { HandoverError } from '../errors.js';
export {
  describeFd,
  type FdDescription,
  type FdKind,
  type SocketAddress,
  type SocketDescription,
} from './describe.js';
export {
  closeFd,
  closeFds,
  dup3,
  dupFd,
  getCloexec,
  type PeerCredentials,
  peerCredentials,
  sealedBlob,
  setCloexec,
  setNonblocking,
  socketpair,
} from './descriptors.js';
export { FdSocket } from './fd-socket.js';
export {
  type AbstractListenerOptions,
  type BindListenerOptions,
  bindListener,
  type IpListenerOptions,
  type RawSocketOption,
  type UnixListenerOptions,
} from './listener.js';
export {
  type Received,
  type ReceiveOptions,
  recvFds,
  type SenderCredentials,
  type SendOptions,
  sendFds,
} from './messages.js';
export { expectSupported, isSupported, MAX_FDS_PER_MESSAGE } from './native.js';
