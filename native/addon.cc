// The exports table: lib/fd/native.ts is its contract.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "bindings.h"
#include "posix.h"

namespace handover {

static Napi::Object Constants(Napi::Env env) {
  const struct {
    const char* name;
    int value;
  } constants[] = {
      {"AF_UNIX", AF_UNIX},           {"AF_INET", AF_INET},           {"AF_INET6", AF_INET6},
      {"SOCK_STREAM", SOCK_STREAM},   {"SOCK_DGRAM", SOCK_DGRAM},     {"SOCK_SEQPACKET", SOCK_SEQPACKET},
      {"SOL_SOCKET", SOL_SOCKET},     {"SO_REUSEADDR", SO_REUSEADDR}, {"SO_REUSEPORT", SO_REUSEPORT},
      {"IPPROTO_IPV6", IPPROTO_IPV6}, {"IPV6_V6ONLY", IPV6_V6ONLY},   {"O_NONBLOCK", O_NONBLOCK},
      {"FD_CLOEXEC", FD_CLOEXEC},
  };
  Napi::Object out = Napi::Object::New(env);
  for (const auto& constant : constants) out.Set(constant.name, constant.value);
  if (posix::kPassCredentials >= 0) out.Set("SO_PASSCRED", posix::kPassCredentials);
  return out;
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  const struct {
    const char* name;
    napi_callback callback;
  } functions[] = {
      {"sendmsg", Call<SendMsg>::Run},
      {"recvmsg", Call<RecvMsg>::Run},
      {"socket", Call<Socket>::Run},
      {"socketpair", Call<SocketPair>::Run},
      {"bindIp", Call<BindIp>::Run},
      {"bindUnix", Call<BindUnix>::Run},
      {"connectUnix", Call<ConnectUnix>::Run},
      {"listen", Call<Listen>::Run},
      {"accept", Call<Accept>::Run},
      {"setsockopt", Call<SetSockOpt>::Run},
      {"getsockopt", Call<GetSockOpt>::Run},
      {"dup3", Call<Dup3>::Run},
      {"dupMin", Call<DupMin>::Run},
      {"getCloexec", Call<GetCloexec>::Run},
      {"setCloexec", Call<SetCloexec>::Run},
      {"setNonblocking", Call<SetNonblocking>::Run},
      {"flock", Call<Flock>::Run},
      {"writeNow", Call<WriteNow>::Run},
      {"close", Call<Close>::Run},
      {"closeMany", Call<CloseMany>::Run},
      {"peerCredentials", Call<PeerCredentials>::Run},
      {"peerPidfd", Call<PeerPidfd>::Run},
      {"pidfdOpen", Call<PidfdOpen>::Run},
      {"pidfdSignal", Call<PidfdSignal>::Run},
      {"reap", Call<Reap>::Run},
      {"sealedBlob", Call<SealedBlob>::Run},
      {"sharedFile", Call<SharedFile>::Run},
      {"reopen", Call<Reopen>::Run},
      {"lockRange", Call<LockRange>::Run},
      {"openPoller", OpenPoller},
  };
  for (const auto& entry : functions) {
    napi_value function;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.callback, nullptr, &function) != napi_ok) break;
    exports.Set(entry.name, function);
  }
  exports.Set("describe", Napi::Function::New(env, Describe, "describe"));
  exports.Set("constants", Constants(env));
  exports.Set("flavor", posix::kFlavor);
  return exports;
}

}  // namespace handover

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return handover::Init(env, exports); }

NODE_API_MODULE(handover, Init)
