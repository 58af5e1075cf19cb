// Creates, binds, connects and configures sockets.
#include <sys/socket.h>

#include "address.h"
#include "bindings.h"
#include "posix.h"

namespace handover {

int Socket(int family, int type, int protocol) { return posix::Socket(family, type, protocol); }

int SocketPair(int type, Ints out) { return out.size < 2 ? -EINVAL : posix::SocketPair(type, out.data); }

int BindIp(int fd, int family, const Text& host, int port) {
  Address address;
  const int error = ParseIp(family, host.data, port, &address);
  return error < 0 ? error : Errno(bind(fd, address.get(), address.size));
}

int BindUnix(int fd, Bytes path) {
  Address address;
  const int error = ParseUnix(path, &address);
  return error < 0 ? error : Errno(bind(fd, address.get(), address.size));
}

int ConnectUnix(int fd, Bytes path) {
  Address address;
  const int error = ParseUnix(path, &address);
  return error < 0 ? error : Errno(connect(fd, address.get(), address.size));
}

int Listen(int fd, int backlog) { return Errno(listen(fd, backlog)); }

int Accept(int listener) { return posix::Accept(listener); }

int SetSockOpt(int fd, int level, int name, Bytes value) {
  return Errno(setsockopt(fd, level, name, value.data, static_cast<socklen_t>(value.size)));
}

int GetSockOpt(int fd, int level, int name, Bytes out) {
  socklen_t size = static_cast<socklen_t>(out.size);
  return getsockopt(fd, level, name, out.data, &size) < 0 ? -errno : static_cast<int>(size);
}

int PeerCredentials(int socket, Ints out) {
  if (out.size < 3) return -EINVAL;
  posix::Credentials peer;
  const int error = posix::PeerCredentials(socket, &peer);
  if (error < 0) return error;
  out.data[0] = peer.pid;
  out.data[1] = peer.uid;
  out.data[2] = peer.gid;
  return 0;
}

int PeerPidfd(int socket) { return posix::PeerPidfd(socket); }

}  // namespace handover
