// Converts socket addresses between the form of lib/fd and the kernel's.
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

// A path whose first byte is 0 is an abstract name, in which all bytes count.
int ParseUnix(Bytes path, Address* out);

// RawAddress of lib/fd/native.ts; undefined for other families.
Napi::Value FormatAddress(Napi::Env env, const Address& address);

}  // namespace handover

#endif  // HANDOVER_ADDRESS_H_
