// Operations on descriptors of any type: copying, flags, closing.
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bindings.h"
#include "posix.h"

namespace handover {

int Dup3(int from, int to, bool cloexec) { return posix::Dup3(from, to, cloexec); }

int DupMin(int fd, int minimum) { return Errno(fcntl(fd, F_DUPFD_CLOEXEC, minimum)); }

int GetCloexec(int fd) {
  const int flags = fcntl(fd, F_GETFD);
  return flags < 0 ? -errno : (flags & FD_CLOEXEC) != 0;
}

int SetCloexec(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFD);
  if (flags < 0) return -errno;
  return Errno(fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC));
}

int SetNonblocking(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return Errno(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int Flock(int fd, bool exclusive) { return Errno(flock(fd, exclusive ? LOCK_EX | LOCK_NB : LOCK_UN)); }

int WriteNow(int fd, Bytes bytes) {
  const ssize_t sent = send(fd, bytes.data, bytes.size, MSG_DONTWAIT | posix::kSendFlags);
  if (sent >= 0 || errno != ENOTSOCK) return Errno(sent);
  pollfd room{fd, POLLOUT, 0};
  const int ready = poll(&room, 1, 0);
  if (ready <= 0) return ready < 0 ? -errno : -EAGAIN;
  // A writable pipe takes PIPE_BUF bytes at once (pipe(7)).
  return Errno(write(fd, bytes.data, bytes.size < PIPE_BUF ? bytes.size : PIPE_BUF));
}

int Close(int fd) {
  if (close(fd) == 0) return 0;
  // After EINTR Linux has released the number: a second close may hit another thread's new descriptor.
  return errno == EINTR || errno == EINPROGRESS ? 0 : -errno;
}

int CloseMany(Ints fds, int count) {
  if (count < 0 || static_cast<size_t>(count) > fds.size) return -EINVAL;
  int first = 0;
  for (int i = 0; i < count; ++i) {
    const int error = Close(fds.data[i]);
    if (first == 0) first = error;
  }
  return first;
}

int WriteAll(int fd, const uint8_t* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t written = pwrite(fd, data + done, size - done, static_cast<off_t>(done));
    if (written < 0 && errno != EINTR) return -errno;
    if (written > 0) done += static_cast<size_t>(written);
  }
  return 0;
}

int SharedFile(const Text& name) { return posix::SharedFile(name.data); }

int Reopen(int fd) { return posix::Reopen(fd); }

int LockRange(int fd, int64_t start, int64_t length, bool exclusive) {
  return posix::LockRange(fd, start, length, exclusive);
}

int SealedBlob(const Text& name, Bytes bytes) { return posix::SealedBlob(name.data, bytes.data, bytes.size); }

}  // namespace handover
