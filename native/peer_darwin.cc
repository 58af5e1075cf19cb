// The peer's credentials on macOS: getpeereid(3) and LOCAL_PEERPID (unix(4)). macOS has no SCM_CREDENTIALS.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "posix.h"

namespace handover::posix {

const int kCredentialsType = -1;
const int kPassCredentials = -1;

int PeerCredentials(int socket, Credentials* out) {
  uid_t uid;
  gid_t gid;
  if (getpeereid(socket, &uid, &gid) < 0) return -errno;
  pid_t pid;
  socklen_t size = sizeof(pid);
  if (getsockopt(socket, SOL_LOCAL, LOCAL_PEERPID, &pid, &size) < 0) pid = -1;
  *out = {pid, static_cast<int>(uid), static_cast<int>(gid)};
  return 0;
}

void WriteOwnCredentials(void*) {}

Credentials ReadCredentials(const void*) { return {-1, -1, -1}; }

}  // namespace handover::posix
