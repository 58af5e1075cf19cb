// Owns one descriptor. A plain `int fd` anywhere else is borrowed.
#ifndef HANDOVER_UNIQUE_FD_H_
#define HANDOVER_UNIQUE_FD_H_

#include <errno.h>
#include <unistd.h>

#include <utility>

namespace handover {

class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() {
    if (fd_ < 0) return;
    const int saved = errno;  // the caller is about to report why it gives up
    ::close(fd_);
    errno = saved;
  }

  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

}  // namespace handover

#endif  // HANDOVER_UNIQUE_FD_H_
