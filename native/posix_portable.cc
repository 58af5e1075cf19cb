// The plain POSIX platform, for macOS; also built and tested on Linux. Another thread may spawn between the call that
// makes a descriptor and the fcntl that makes it close-on-exec: POSIX has no atomic way, and libuv has the same gap.
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <string>

#include "posix.h"
#include "unique_fd.h"

namespace handover::posix {

const char* const kFlavor = "portable";
// macOS before 15 lacks MSG_NOSIGNAL, and SO_NOSIGPIPE would affect other processes that share the socket. Node ignores
// SIGPIPE from its start (PlatformInit in node.cc), so a write to a dead peer is EPIPE without either.
const int kSendFlags = 0;
const int kRecvFlags = 0;

static int Cloexec(int fd) {
  UniqueFd owned(fd);
  if (!owned || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -errno;
  return owned.Release();
}

int Socket(int family, int type, int protocol) { return Cloexec(socket(family, type, protocol)); }

int SocketPair(int type, int out[2]) {
  if (socketpair(AF_UNIX, type, 0, out) < 0) return -errno;
  SetReceivedCloexec(out, 2);
  return 0;
}

int Dup3(int from, int to, bool cloexec) {
  if (from == to) return -EINVAL;
  const int fd = dup2(from, to);
  if (fd < 0) return -errno;
  return cloexec ? Cloexec(fd) : fd;
}

void SetReceivedCloexec(const int* fds, size_t count) {
  // fcntl cannot fail on a descriptor that the kernel has just returned.
  for (size_t i = 0; i < count; ++i) fcntl(fds[i], F_SETFD, FD_CLOEXEC);
}

int SealedBlob(const char*, const uint8_t* data, size_t size) {
  char path[4096];
  size_t length = sizeof(path);
  if (const int error = uv_os_tmpdir(path, &length); error < 0) return error;
  std::string file = std::string(path) + "/handover-XXXXXX";
  UniqueFd writer(Cloexec(mkstemp(file.data())));
  if (!writer) return -errno;
  // Opened again for reading: an open descriptor cannot lose its write access.
  UniqueFd reader(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const int opened = Errno(reader.get());
  unlink(file.c_str());
  if (opened < 0) return opened;
  const int written = WriteAll(writer.get(), data, size);
  return written < 0 ? written : reader.Release();
}

// macOS has no memfd_create(2), and its /dev/fd/N is a copy of N, with the same locks.
int SharedFile(const char*) { return -ENOSYS; }

int Reopen(int) { return -ENOSYS; }

int LockRange(int, int64_t, int64_t, bool) { return -ENOSYS; }

int PeerPidfd(int) { return -ENOSYS; }

int PidfdOpen(int) { return -ENOSYS; }

int PidfdSignal(int, int) { return -ENOSYS; }

int Accept(int listener) { return Cloexec(accept(listener, nullptr, nullptr)); }

int Identify(int socket, int type, SocketIdentity* out) {
  sockaddr_storage address;
  socklen_t size = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) < 0) return -errno;
  out->family = address.ss_family;
  // SO_PROTOCOL is not portable: this is the default protocol of the family and type.
  const bool internet = out->family == AF_INET || out->family == AF_INET6;
  out->protocol = !internet ? 0 : type == SOCK_STREAM ? IPPROTO_TCP : type == SOCK_DGRAM ? IPPROTO_UDP : 0;
  out->has_cookie = false;
  return 0;
}

}  // namespace handover::posix
