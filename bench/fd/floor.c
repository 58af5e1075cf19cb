// Contestant: the same system calls in C, the floor no one can beat. For Linux.
//   stdin: MODE DESCRIPTORS-A-MESSAGE MESSAGES   stdout: nanoseconds
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kMaxFds = 253, kWarmUp = 20 };

static void Check(int ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(1);
}

static int ConnectedSocket(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof(address);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Check(bind(listener, (struct sockaddr*)&address, size) == 0, "bind");
  Check(listen(listener, 1) == 0, "listen");
  Check(getsockname(listener, (struct sockaddr*)&address, &size) == 0, "getsockname");
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Check(connect(client, (struct sockaddr*)&address, size) == 0, "connect");
  Check(accept(listener, NULL, NULL) >= 0, "accept");  // stays open until the end
  close(listener);
  return client;
}

static void Send(int socket, const int* fds, int count) {
  char byte = 'x';
  struct iovec part = {&byte, 1};
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  }
  Check(sendmsg(socket, &message, MSG_NOSIGNAL) == 1, "sendmsg");
}

// Returns the bytes read; closes every descriptor that came with them.
static int ReceiveAndClose(int socket, int expected) {
  char byte;
  struct iovec part = {&byte, 1};
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  ssize_t size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  Check(size >= 0 && (message.msg_flags & MSG_CTRUNC) == 0, "recvmsg");
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  int count = header == NULL ? 0 : (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  if (size > 0) Check(count == expected, "number of descriptors");
  for (int i = 0; i < count; ++i) {
    int fd;
    memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    Check(close(fd) == 0, "close");
  }
  return (int)size;
}

static void RunOneProcess(const int pair[2], const int* fds, int per_message, long messages) {
  for (long i = 0; i < messages; ++i) {
    Send(pair[0], fds, per_message);
    ReceiveAndClose(pair[1], per_message);
  }
}

static void Serve(int socket, int per_message) {
  while (ReceiveAndClose(socket, per_message) > 0) Send(socket, NULL, 0);
  _exit(0);
}

static void RunTwoProcesses(int socket, const int* fds, int per_message, long messages) {
  for (long i = 0; i < messages; ++i) {
    Send(socket, fds, per_message);
    Check(ReceiveAndClose(socket, 0) == 1, "acknowledgement");
  }
}

static long long Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(void) {
  int fds[kMaxFds];
  fds[0] = ConnectedSocket();
  for (int i = 1; i < kMaxFds; ++i) Check((fds[i] = dup(fds[0])) >= 0, "dup");

  char mode[16];
  int per_message;
  long messages;
  while (scanf("%15s %d %ld", mode, &per_message, &messages) == 3) {
    const int two = strcmp(mode, "two-process") == 0;
    int pair[2];
    Check(per_message >= 1 && per_message <= kMaxFds, "descriptors a message");
    Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    pid_t child = two ? fork() : 0;
    Check(child >= 0, "fork");
    if (two && child == 0) {
      close(pair[0]);
      Serve(pair[1], per_message);
    }
    if (two) close(pair[1]);
    if (two) RunTwoProcesses(pair[0], fds, per_message, kWarmUp);

    const long long started = Now();
    if (two) {
      RunTwoProcesses(pair[0], fds, per_message, messages);
    } else {
      RunOneProcess(pair, fds, per_message, messages);
    }
    printf("%lld\n", Now() - started);
    fflush(stdout);

    close(pair[0]);
    if (two) {
      Check(waitpid(child, NULL, 0) == child, "waitpid");
    } else {
      close(pair[1]);
    }
  }
  return 0;
}
