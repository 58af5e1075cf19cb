// Descriptors in messages: SCM_RIGHTS and SCM_CREDENTIALS. The only file that uses the CMSG macros.
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "bindings.h"
#include "posix.h"

namespace handover {

namespace {

constexpr size_t kMaxFds = 253;  // SCM_MAX_FD of the Linux kernel

// Room for the most that can arrive: with a smaller buffer the kernel still leaves descriptors open in this process.
constexpr size_t kControlBytes = CMSG_SPACE(kMaxFds * sizeof(int)) + CMSG_SPACE(posix::kCredentialsBytes);

// Indices of RECEIVED in lib/fd/native.ts.
enum { kCount, kHasCredentials, kPid, kUid, kGid, kFds, kReceivedInts = kFds + kMaxFds, kLostBytes = kPid };

struct Message {
  Message(Bytes bytes, void* control, size_t control_size) : header{} {
    part.iov_base = bytes.data;
    part.iov_len = std::min<size_t>(bytes.size, INT_MAX);  // the result is an int
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control_size > 0 ? control : nullptr;
    header.msg_controllen = control_size;
  }
  iovec part;
  msghdr header;
};

// Not CMSG_NXTHDR, which reads the length of the header it is about to return (glibc) and so wants a zeroed buffer.
void* Append(char* control, size_t* used, int type, size_t payload) {
  auto* header = reinterpret_cast<cmsghdr*>(control + *used);
  memset(header, 0, CMSG_SPACE(payload));  // valgrind reports uninitialised padding
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(payload);
  *used += CMSG_SPACE(payload);
  return CMSG_DATA(header);
}

// Appends the descriptors of one control message to `received`; closes descriptors without room.
bool TakeFds(cmsghdr* header, Ints received) {
  const size_t arrived = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  const size_t held = received.data[kCount];
  const size_t taken = std::min(arrived, kMaxFds - held);
  memcpy(received.data + kFds + held, CMSG_DATA(header), taken * sizeof(int));
  received.data[kCount] += static_cast<int32_t>(taken);
  for (size_t i = taken; i < arrived; ++i) {
    int fd;
    memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    close(fd);
  }
  return taken == arrived;
}

int CloseReceived(Ints received, int error) {
  CloseMany({received.data + kFds, kMaxFds}, received.data[kCount]);
  received.data[kCount] = 0;
  return error;
}

}  // namespace

int SendMsg(int socket, Bytes bytes, Ints fds, int fd_count, bool credentials) {
  // Descriptors without a byte vanish on a stream (sendmsg returns 0) and look like its end on a packet socket.
  if (bytes.size == 0) return -EINVAL;
  if (fd_count < 0 || static_cast<size_t>(fd_count) > std::min(fds.size, kMaxFds)) return -EINVAL;
  if (credentials && posix::kCredentialsType < 0) return -ENOTSUP;

  alignas(cmsghdr) char control[kControlBytes];
  size_t used = 0;
  if (fd_count > 0)
    memcpy(Append(control, &used, SCM_RIGHTS, fd_count * sizeof(int)), fds.data, fd_count * sizeof(int));
  if (credentials) {
    posix::WriteOwnCredentials(Append(control, &used, posix::kCredentialsType, posix::kCredentialsBytes));
  }
  Message message(bytes, control, used);
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message.header, posix::kSendFlags);
  } while (sent < 0 && errno == EINTR);
  return Errno(sent);
}

int RecvMsg(int socket, Bytes into, Ints received) {
  if (into.size == 0 || received.size < kReceivedInts) return -EINVAL;
  received.data[kCount] = 0;
  received.data[kHasCredentials] = 0;

  alignas(cmsghdr) char control[kControlBytes];
  Message message(into, control, sizeof(control));
  ssize_t size;
  do {
    size = recvmsg(socket, &message.header, posix::kRecvFlags);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return -errno;

  bool whole = (message.header.msg_flags & MSG_CTRUNC) == 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message.header); header != nullptr;
       header = CMSG_NXTHDR(&message.header, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_RIGHTS) {
      whole = TakeFds(header, received) && whole;
    } else if (header->cmsg_type == posix::kCredentialsType) {
      const posix::Credentials sender = posix::ReadCredentials(CMSG_DATA(header));
      received.data[kHasCredentials] = 1;
      received.data[kPid] = sender.pid;
      received.data[kUid] = sender.uid;
      received.data[kGid] = sender.gid;
    }
  }
  // With a full descriptor table the kernel delivers no control message: the flag is the only sign.
  // The bytes have left the socket nevertheless.
  if (!whole) {
    received.data[kHasCredentials] = 0;
    received.data[kLostBytes] = static_cast<int32_t>(size);
    return CloseReceived(received, -ENOBUFS);
  }
  if ((message.header.msg_flags & MSG_TRUNC) != 0) return CloseReceived(received, -EMSGSIZE);
  if (size == 0 && received.data[kCount] > 0) return CloseReceived(received, -EBADMSG);
  posix::SetReceivedCloexec(received.data + kFds, received.data[kCount]);
  return static_cast<int>(size);
}

}  // namespace handover
