// Constants of the Linux kernel that the headers of a distribution may lack: the headers of a libc follow the kernel by
// years, and Alpine installs the kernel's own (linux/memfd.h) only on request. The values are the same on every
// architecture that Node is built for; a kernel older than a constant refuses it.
#ifndef HANDOVER_KERNEL_H_
#define HANDOVER_KERNEL_H_

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// Linux 2.6.32
#ifndef SO_PROTOCOL
#define SO_PROTOCOL 38
#endif
#ifndef SO_DOMAIN
#define SO_DOMAIN 39
#endif
// 3.15
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif
// 3.17
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x0001U
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 0x0002U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#endif
#ifndef F_SEAL_SEAL
#define F_SEAL_SEAL 0x0001
#endif
#ifndef F_SEAL_SHRINK
#define F_SEAL_SHRINK 0x0002
#endif
#ifndef F_SEAL_GROW
#define F_SEAL_GROW 0x0004
#endif
#ifndef F_SEAL_WRITE
#define F_SEAL_WRITE 0x0008
#endif
// 4.12
#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
// 5.1
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
// 5.3
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
// 6.3
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
// 6.5
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#endif  // HANDOVER_KERNEL_H_
