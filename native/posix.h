// The functions that differ between platforms: posix_linux.cc or posix_portable.cc implement them, and peer_linux.cc or
// peer_darwin.cc. Every function returns a negative errno; the caller owns a returned descriptor, which is
// close-on-exec.
#ifndef HANDOVER_POSIX_H_
#define HANDOVER_POSIX_H_

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

namespace handover {

template <typename T>
inline int Errno(T result) {
  return result < 0 ? -errno : static_cast<int>(result);
}

// Leaves the offset at 0, because every process that gets the descriptor shares it. Implemented in descriptor.cc.
int WriteAll(int fd, const uint8_t* data, size_t size);

namespace posix {

extern const char* const kFlavor;

// Flags for sendmsg(2) and recvmsg(2), as far as the platform has them.
extern const int kSendFlags;
extern const int kRecvFlags;

int Socket(int family, int type, int protocol);
int SocketPair(int type, int out[2]);
// Fails with -EINVAL when the two are equal, as dup3(2) does.
int Dup3(int from, int to, bool cloexec);
// Sets close-on-exec on received descriptors, where the kernel cannot do it atomically.
void SetReceivedCloexec(const int* fds, size_t count);
int SealedBlob(const char* name, const uint8_t* data, size_t size);
// A file without a name, writable through every descriptor of it.
int SharedFile(const char* name);
// A descriptor of the same file with an open file description of its own.
int Reopen(int fd);
// Locks for this open file description (F_OFD_SETLK) without waiting; length 0 reaches to the end of any later size.
int LockRange(int fd, int64_t start, int64_t length, bool exclusive);
int PeerPidfd(int socket);
int Accept(int listener);
int PidfdOpen(int pid);
int PidfdSignal(int pidfd, int signal);

struct SocketIdentity {
  int family;
  int protocol;
  bool has_cookie;
  uint64_t cookie;
};
int Identify(int socket, int type, SocketIdentity* out);

struct Credentials {
  int pid;
  int uid;
  int gid;
};
int PeerCredentials(int socket, Credentials* out);

// SCM_CREDENTIALS: the payload of the control message, its type, and the option that enables it; -1 where it is
// missing.
constexpr size_t kCredentialsBytes = 3 * sizeof(int);
extern const int kCredentialsType;
extern const int kPassCredentials;
void WriteOwnCredentials(void* payload);
Credentials ReadCredentials(const void* payload);

}  // namespace posix
}  // namespace handover

#endif  // HANDOVER_POSIX_H_
