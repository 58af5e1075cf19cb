// Every function that the addon exports, by its name in lib/fd/native.ts, which has their contract.
#ifndef HANDOVER_BINDINGS_H_
#define HANDOVER_BINDINGS_H_

#include <napi.h>

#include "call.h"

namespace handover {

// scm.cc
int SendMsg(int socket, Bytes bytes, Ints fds, int fd_count, bool credentials);
int RecvMsg(int socket, Bytes into, Ints received);

// socket.cc
int Socket(int family, int type, int protocol);
int SocketPair(int type, Ints out);
int BindIp(int fd, int family, const Text& host, int port);
int BindUnix(int fd, Bytes path);
int ConnectUnix(int fd, Bytes path);
int Listen(int fd, int backlog);
int Accept(int listener);
int SetSockOpt(int fd, int level, int name, Bytes value);
int GetSockOpt(int fd, int level, int name, Bytes out);
int PeerCredentials(int socket, Ints out);
int PeerPidfd(int socket);

// process.cc
int PidfdOpen(int pid);
int PidfdSignal(int pidfd, int signal);
int Reap(int pid);

// descriptor.cc
int Dup3(int from, int to, bool cloexec);
int DupMin(int fd, int minimum);
int GetCloexec(int fd);
int SetCloexec(int fd, bool on);
int SetNonblocking(int fd, bool on);
int Close(int fd);
int Flock(int fd, bool exclusive);
int WriteNow(int fd, Bytes bytes);
int CloseMany(Ints fds, int count);
int SealedBlob(const Text& name, Bytes bytes);
int SharedFile(const Text& name);
int Reopen(int fd);
int LockRange(int fd, int64_t start, int64_t length, bool exclusive);

// describe.cc
Napi::Value Describe(const Napi::CallbackInfo& info);

// poller.cc
napi_value OpenPoller(napi_env env, napi_callback_info info);
bool PollerFits();

}  // namespace handover

#endif  // HANDOVER_BINDINGS_H_
