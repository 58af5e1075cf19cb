// Operations on other processes: opening and signalling their pidfd, and reaping.
#include <sys/wait.h>

#include "bindings.h"
#include "posix.h"

namespace handover {

int PidfdOpen(int pid) { return posix::PidfdOpen(pid); }

int PidfdSignal(int pidfd, int signal) { return posix::PidfdSignal(pidfd, signal); }

// Waits for one pid: waiting for any child would reap libuv's children.
int Reap(int pid) { return pid > 0 ? Errno(waitpid(pid, nullptr, WNOHANG)) : -EINVAL; }

}  // namespace handover
