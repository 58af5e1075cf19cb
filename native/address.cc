// Socket addresses: IP literals and scopes, paths and abstract names (ip(7), ipv6(7), unix(7)).
#include "address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <algorithm>
#include <string>

namespace handover {

namespace {

constexpr size_t kPathOffset = offsetof(sockaddr_un, sun_path);

template <typename T>
T* Begin(Address* out, int family, size_t size = sizeof(T)) {
  memset(&out->storage, 0, sizeof(out->storage));
  out->storage.ss_family = static_cast<sa_family_t>(family);
  out->size = static_cast<socklen_t>(size);
  return reinterpret_cast<T*>(&out->storage);
}

// 0 where the interface does not exist.
unsigned ScopeId(const char* scope) {
  char* end;
  const unsigned long number = strtoul(scope, &end, 10);
  if (end != scope && *end == '\0') return static_cast<unsigned>(number);
  return if_nametoindex(scope);
}

}  // namespace

int ParseIp(int family, const char* host, int port, Address* out) {
  if (port < 0 || port > 65535) return -EINVAL;
  if (family == AF_INET) {
    auto* ip = Begin<sockaddr_in>(out, family);
    ip->sin_port = htons(static_cast<uint16_t>(port));
    return inet_pton(family, host, &ip->sin_addr) == 1 ? 0 : -EINVAL;
  }
  if (family != AF_INET6) return -EAFNOSUPPORT;
  auto* ip = Begin<sockaddr_in6>(out, family);
  ip->sin6_port = htons(static_cast<uint16_t>(port));
  const char* percent = strchr(host, '%');
  const std::string literal = percent == nullptr ? host : std::string(host, percent);
  if (inet_pton(family, literal.c_str(), &ip->sin6_addr) != 1) return -EINVAL;
  if (percent == nullptr) return 0;
  ip->sin6_scope_id = ScopeId(percent + 1);
  return ip->sin6_scope_id == 0 ? -ENODEV : 0;
}

int ParseUnix(Bytes path, Address* out) {
  if (path.size == 0) return -EINVAL;  // Linux would bind it to a name of its own choice
  const bool abstract = path.data[0] == 0;
  // A path keeps its NUL: a path of 108 bytes without one would be out of reach for many tools.
  if (path.size + !abstract > sizeof(sockaddr_un::sun_path)) return -ENAMETOOLONG;
  if (!abstract && memchr(path.data, 0, path.size) != nullptr) return -EINVAL;
  auto* name = Begin<sockaddr_un>(out, AF_UNIX, kPathOffset + path.size + !abstract);
  memcpy(name->sun_path, path.data, path.size);
  return 0;
}

Napi::Value FormatAddress(Napi::Env env, const Address& address) {
  Napi::Object out = Napi::Object::New(env);
  const int family = address.storage.ss_family;
  if (family == AF_INET || family == AF_INET6) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
    char host[INET6_ADDRSTRLEN];
    const void* bytes = family == AF_INET ? static_cast<const void*>(&v4.sin_addr) : &v6.sin6_addr;
    inet_ntop(family, bytes, host, sizeof(host));
    out.Set("host", host);
    out.Set("port", ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port));
    out.Set("scopeId", family == AF_INET ? 0 : v6.sin6_scope_id);
    return out;
  }
  if (family != AF_UNIX) return env.Undefined();
  const char* name = reinterpret_cast<const sockaddr_un&>(address.storage).sun_path;
  size_t size = address.size <= kPathOffset ? 0 : address.size - kPathOffset;
  if (size > 0 && name[0] != '\0') size = strnlen(name, size);
  // The Mac reports an unnamed socket as a name of NULs only.
  if (std::all_of(name, name + size, [](char c) { return c == '\0'; })) size = 0;
  out.Set("path", Napi::Buffer<char>::Copy(env, name, size));
  return out;
}

}  // namespace handover
