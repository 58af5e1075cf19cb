// The Linux platform: every descriptor is close-on-exec from its creation, so that no concurrent spawn inherits it.
#include <stdio.h>
#include <unistd.h>

#include "kernel.h"
#include "posix.h"
#include "unique_fd.h"

namespace handover::posix {

const char* const kFlavor = "linux";
const int kSendFlags = MSG_NOSIGNAL;
const int kRecvFlags = MSG_CMSG_CLOEXEC;

int Socket(int family, int type, int protocol) { return Errno(socket(family, type | SOCK_CLOEXEC, protocol)); }

int SocketPair(int type, int out[2]) { return Errno(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, out)); }

int Dup3(int from, int to, bool cloexec) { return Errno(dup3(from, to, cloexec ? O_CLOEXEC : 0)); }

void SetReceivedCloexec(const int*, size_t) {}

// vm.memfd_noexec=2 requires MFD_NOEXEC_SEAL, which kernels before 6.3 do not know.
static UniqueFd Memfd(const char* name) {
  UniqueFd memfd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!memfd && errno == EINVAL) memfd = UniqueFd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return memfd;
}

int SealedBlob(const char* name, const uint8_t* data, size_t size) {
  UniqueFd blob = Memfd(name);
  if (!blob) return -errno;
  if (const int error = WriteAll(blob.get(), data, size); error < 0) return error;
  if (fcntl(blob.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) return -errno;
  return blob.Release();
}

int SharedFile(const char* name) {
  UniqueFd file = Memfd(name);
  return file ? file.Release() : -errno;
}

int Reopen(int fd) {
  char path[32];
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  return Errno(open(path, O_RDWR | O_CLOEXEC));
}

int LockRange(int fd, int64_t start, int64_t length, bool exclusive) {
  struct flock range = {};
  range.l_type = exclusive ? F_WRLCK : F_UNLCK;
  range.l_whence = SEEK_SET;
  range.l_start = start;
  range.l_len = length;
  return Errno(fcntl(fd, F_OFD_SETLK, &range));
}

int PeerPidfd(int socket) {
  int pidfd;
  socklen_t size = sizeof(pidfd);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) return -errno;
  return pidfd;  // close-on-exec: pidfd_prepare() in kernel/fork.c
}

int Accept(int listener) { return Errno(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)); }

// Raw system calls: only glibc 2.36 has wrappers for the next two, and the distributions we build on may be older.
int PidfdOpen(int pid) { return Errno(syscall(SYS_pidfd_open, pid, 0)); }

int PidfdSignal(int pidfd, int signal) { return Errno(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0)); }

int Identify(int socket, int, SocketIdentity* out) {
  socklen_t size = sizeof(out->family);
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &out->family, &size) < 0) return -errno;
  size = sizeof(out->protocol);
  if (getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &out->protocol, &size) < 0) return -errno;
  size = sizeof(out->cookie);
  out->has_cookie = getsockopt(socket, SOL_SOCKET, SO_COOKIE, &out->cookie, &size) == 0;
  return 0;
}

}  // namespace handover::posix
