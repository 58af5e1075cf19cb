// The types of `handover/fd`, to the letter. Never run: `npm run typecheck` reads it.
import type { AddressInfo } from 'node:net';
import {
  bindListener,
  type closeFd,
  closeFds,
  describeFd,
  dup3,
  dupFd,
  type FdDescription,
  type FdKind,
  FdSocket,
  type MAX_FDS_PER_MESSAGE,
  type PeerCredentials,
  peerCredentials,
  type Received,
  recvFds,
  type SenderCredentials,
  type SocketAddress,
  type SystemError,
  sendFds,
  setCloexec,
  setNonblocking,
  socketpair,
} from '../../lib/fd/index.js';
import { type Equal, type Mutable, same } from './same.js';

declare const bytes: Uint8Array;
declare const fd: number;

// Results.
same<Equal<ReturnType<typeof sendFds>, number>>();
same<Equal<ReturnType<typeof recvFds>, Received>>();
same<Equal<Received['bytes'], Buffer>>();
same<Equal<Received['fds'], Int32Array>>();
same<Equal<Received['credentials'], SenderCredentials | undefined>>();
same<Equal<ReturnType<typeof socketpair>, [number, number]>>();
same<Equal<ReturnType<typeof dup3>, number>>();
same<Equal<ReturnType<typeof dupFd>, number>>();
same<Equal<ReturnType<typeof closeFd>, void>>();
same<Equal<ReturnType<typeof closeFds>, void>>();
same<Equal<ReturnType<typeof setCloexec>, void>>();
same<Equal<ReturnType<typeof setNonblocking>, void>>();
same<Equal<ReturnType<typeof bindListener>, number>>();
same<Equal<ReturnType<typeof describeFd>, FdDescription>>();
same<Equal<ReturnType<typeof peerCredentials>, PeerCredentials>>();
same<Equal<PeerCredentials['pid'], number | undefined>>();
same<Equal<FdDescription['inode'], bigint>>();
same<Equal<FdDescription['kind'], FdKind>>();
same<Equal<SystemError['errno'], number>>();
// A constant: its value may be relied on in types.
same<Equal<typeof MAX_FDS_PER_MESSAGE, 253>>();

// sendFds: bytes may be any view of bytes, descriptors any list of numbers, typed or not.
sendFds(fd, bytes, [1, 2]);
sendFds(fd, Buffer.from('x'), new Int32Array(2), { credentials: true });
sendFds(fd, bytes, [1, 2] as const);
// @ts-expect-error text has no encoding here
sendFds(fd, 'x', [1]);
// @ts-expect-error one descriptor is a list of one
sendFds(fd, bytes, 1);
// @ts-expect-error the descriptors are named, even when none
sendFds(fd, bytes);
// @ts-expect-error unknown options are errors
sendFds(fd, bytes, [], { flags: 0 });

// recvFds
recvFds(fd);
recvFds(fd, { maxBytes: 16 });
recvFds(fd, { into: bytes });
// @ts-expect-error unknown options are errors
recvFds(fd, { maxFds: 3 });
// @ts-expect-error what was received is not rewritten
recvFds(fd).bytes = Buffer.alloc(0);

// socketpair
socketpair('seqpacket');
// @ts-expect-error there is no such type
socketpair('raw');

// Flags and copies.
dup3(fd, 2, true);
dup3(fd, 2);
dupFd(fd, 100);
setCloexec(fd, false);
setNonblocking(fd, false);
// @ts-expect-error a flag is true or false
setCloexec(fd, 1);
// @ts-expect-error dup3 names the number it writes to
dup3(fd);
// @ts-expect-error one descriptor: closeFd
closeFds(3);

// bindListener: one of three kinds.
bindListener({ port: 0 });
bindListener({ port: 80, host: '::', ipv6Only: true, reusePort: true, reuseAddr: false, backlog: 511 });
bindListener({ port: 53, protocol: 'udp', socketOptions: [{ level: 1, name: 2, value: 3 }] });
bindListener({ path: 'x.sock', mode: 0o600 });
bindListener({ abstract: 'x' });
// @ts-expect-error somewhere to listen
bindListener({});
// @ts-expect-error a port is a number
bindListener({ port: '80' });
// @ts-expect-error a path has no port
bindListener({ path: 'x.sock', port: 80 });
// @ts-expect-error an abstract name has no mode
bindListener({ abstract: 'x', mode: 0o600 });
// @ts-expect-error no such protocol
bindListener({ port: 0, protocol: 'sctp' });

// describeFd: the socket's part is there for sockets alone, and an address is one of three.
const description = describeFd(fd);
// @ts-expect-error not every descriptor is a socket
description.socket.listening;
const local: SocketAddress | undefined = description.socket?.local;
if (local !== undefined && 'port' in local) same<Equal<typeof local, AddressInfo>>();
// @ts-expect-error a description is a reading, not a handle
description.cloexec = false;
same<Equal<Mutable<FdDescription>, FdDescription> extends true ? false : true>();

// peerCredentials
same<Equal<PeerCredentials['pidfd'], number | undefined>>();
peerCredentials(fd, { pidfd: true });
// @ts-expect-error unknown options are errors
peerCredentials(fd, { pid: true });

// FdSocket: end of stream is undefined, never an empty message.
const socket = new FdSocket(fd);
same<Equal<ReturnType<FdSocket['send']>, Promise<void>>>();
same<Equal<ReturnType<FdSocket['receive']>, Promise<Received | undefined>>>();
same<Equal<ReturnType<typeof FdSocket.pair>, [FdSocket, FdSocket]>>();
same<Equal<ReturnType<FdSocket['ref']>, FdSocket>>();
void socket.send(bytes);
void socket.send(bytes, [1]);
for await (const received of socket) same<Equal<typeof received, Received>>();
// @ts-expect-error the descriptor is the socket's for life
socket.fd = 4;
// @ts-expect-error its poller is its own
socket.poller;
