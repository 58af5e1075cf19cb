// Other processes: held by their pidfd, and waited for.
#include <sys/wait.h>

#include "bindings.h"
#include "posix.h"

namespace handover {

int PidfdOpen(int pid) { return posix::PidfdOpen(pid); }

int PidfdSignal(int pidfd, int signal) { return posix::PidfdSignal(pidfd, signal); }

// One pid only: waiting for any child would take libuv's own from it.
int Reap(int pid) { return pid > 0 ? Errno(waitpid(pid, nullptr, WNOHANG)) : -EINVAL; }

}  // namespace handover
