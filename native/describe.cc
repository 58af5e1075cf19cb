// Describes a descriptor: RawDescription of lib/fd/native.ts.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "address.h"
#include "bindings.h"
#include "posix.h"

namespace handover {

namespace {

int SocketInt(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

void SetAddress(Napi::Object out, const char* key, int fd, int (*ask)(int, sockaddr*, socklen_t*)) {
  Address address;
  address.size = sizeof(address.storage);
  if (ask(fd, address.get(), &address.size) < 0) return;  // no peer
  const Napi::Value value = FormatAddress(out.Env(), address);
  if (value.IsObject()) out.Set(key, value);
}

Napi::Value DescribeSocket(Napi::Env env, int fd) {
  const int type = SocketInt(fd, SO_TYPE);
  if (type < 0) return Napi::Number::New(env, type);
  posix::SocketIdentity identity;
  if (const int error = posix::Identify(fd, type, &identity); error < 0) return Napi::Number::New(env, error);
  Napi::Object out = Napi::Object::New(env);
  out.Set("family", identity.family);
  out.Set("type", type);
  out.Set("protocol", identity.protocol);
  out.Set("listening", Napi::Boolean::New(env, SocketInt(fd, SO_ACCEPTCONN) > 0));
  if (identity.has_cookie) out.Set("cookie", Napi::BigInt::New(env, identity.cookie));
  SetAddress(out, "local", fd, getsockname);
  SetAddress(out, "peer", fd, getpeername);
  return out;
}

}  // namespace

Napi::Value Describe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fd;
  if (!Read(env, info[0], &fd)) return Napi::Number::New(env, -EINVAL);
  struct stat status;
  if (fstat(fd, &status) < 0) return Napi::Number::New(env, -errno);
  Napi::Object out = Napi::Object::New(env);
  out.Set("mode", static_cast<uint32_t>(status.st_mode));
  out.Set("dev", Napi::BigInt::New(env, static_cast<uint64_t>(status.st_dev)));
  out.Set("ino", Napi::BigInt::New(env, static_cast<uint64_t>(status.st_ino)));
  out.Set("statusFlags", fcntl(fd, F_GETFL));
  out.Set("fdFlags", fcntl(fd, F_GETFD));
  if (S_ISSOCK(status.st_mode)) {
    const Napi::Value socket = DescribeSocket(env, fd);
    if (socket.IsNumber()) return socket;
    out.Set("socket", socket);
  }
  return out;
}

}  // namespace handover
