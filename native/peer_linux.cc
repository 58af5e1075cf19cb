// The peer's credentials on Linux: SO_PEERCRED and SCM_CREDENTIALS (unix(7)).
#include <string.h>
#include <unistd.h>

#include "kernel.h"
#include "posix.h"

namespace handover::posix {

static_assert(sizeof(ucred) == kCredentialsBytes, "scm.cc makes room for struct ucred");

const int kCredentialsType = SCM_CREDENTIALS;
const int kPassCredentials = SO_PASSCRED;

static Credentials FromUcred(const ucred& peer) {
  // The kernel gives pid 0 for a process outside of our pid namespace.
  return {peer.pid == 0 ? -1 : peer.pid, static_cast<int>(peer.uid), static_cast<int>(peer.gid)};
}

int PeerCredentials(int socket, Credentials* out) {
  ucred peer;
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
  // The call succeeds with {0, -1, -1} for a socket of any family that never had a peer.
  if (peer.uid == static_cast<uid_t>(-1)) return -ENOTCONN;
  *out = FromUcred(peer);
  return 0;
}

void WriteOwnCredentials(void* payload) {
  const ucred self = {getpid(), getuid(), getgid()};
  memcpy(payload, &self, sizeof(self));
}

Credentials ReadCredentials(const void* payload) {
  ucred peer;
  memcpy(&peer, payload, sizeof(peer));
  return FromUcred(peer);
}

}  // namespace handover::posix
