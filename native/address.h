// Socket addresses, from the form lib/fd uses to the kernel's and back.
#ifndef HANDOVER_ADDRESS_H_
#define HANDOVER_ADDRESS_H_

#include <napi.h>
#include <sys/socket.h>

#include "call.h"

namespace handover {

struct Address {
  sockaddr_storage storage;
  socklen_t size;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// `host` is a literal, an IPv6 one perhaps with a scope: fe80::1%eth0, fe80::1%2.
int ParseIp(int family, const char* host, int port, Address* out);

// First byte 0: an abstract name, which is exactly as long as it says.
int ParseUnix(Bytes path, Address* out);

// RawAddress of lib/fd/native.ts; undefined for other families.
Napi::Value FormatAddress(Napi::Env env, const Address& address);

}  // namespace handover

#endif  // HANDOVER_ADDRESS_H_
