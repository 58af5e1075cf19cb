// The table of exports; lib/fd/native.ts is its contract.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <iterator>

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

static napi_value DescribeFd(napi_env env, napi_callback_info info) { return Describe(Napi::CallbackInfo(env, info)); }

static napi_property_descriptor Property(const char* name, napi_callback function, napi_value value = nullptr) {
  return {name, nullptr, function, nullptr, nullptr, value, napi_default_jsproperty, nullptr};
}

// Returns no object: with one of its own Node 22 and later drop the exception (FACTS N15).
static Napi::Object Refuse(Napi::Env env, const char* why) {
  if (!env.IsExceptionPending()) Napi::Error::New(env, why).ThrowAsJavaScriptException();
  return Napi::Object();
}

// Exports the whole table or fails to load: an addon without one of the functions would fail at its first use, in a
// handover.
static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  if (!PollerFits())
    return Refuse(env, "uv_poll_t has another size in this Node than in the headers the addon was compiled with");
  const napi_property_descriptor table[] = {
      Property("sendmsg", Call<SendMsg>::Run),
      Property("recvmsg", Call<RecvMsg>::Run),
      Property("socket", Call<Socket>::Run),
      Property("socketpair", Call<SocketPair>::Run),
      Property("bindIp", Call<BindIp>::Run),
      Property("bindUnix", Call<BindUnix>::Run),
      Property("connectUnix", Call<ConnectUnix>::Run),
      Property("listen", Call<Listen>::Run),
      Property("accept", Call<Accept>::Run),
      Property("setsockopt", Call<SetSockOpt>::Run),
      Property("getsockopt", Call<GetSockOpt>::Run),
      Property("dup3", Call<Dup3>::Run),
      Property("dupMin", Call<DupMin>::Run),
      Property("getCloexec", Call<GetCloexec>::Run),
      Property("setCloexec", Call<SetCloexec>::Run),
      Property("setNonblocking", Call<SetNonblocking>::Run),
      Property("flock", Call<Flock>::Run),
      Property("writeNow", Call<WriteNow>::Run),
      Property("close", Call<Close>::Run),
      Property("closeMany", Call<CloseMany>::Run),
      Property("peerCredentials", Call<PeerCredentials>::Run),
      Property("peerPidfd", Call<PeerPidfd>::Run),
      Property("pidfdOpen", Call<PidfdOpen>::Run),
      Property("pidfdSignal", Call<PidfdSignal>::Run),
      Property("reap", Call<Reap>::Run),
      Property("sealedBlob", Call<SealedBlob>::Run),
      Property("sharedFile", Call<SharedFile>::Run),
      Property("reopen", Call<Reopen>::Run),
      Property("lockRange", Call<LockRange>::Run),
      Property("openPoller", OpenPoller),
      Property("describe", DescribeFd),
      Property("constants", nullptr, Constants(env)),
      Property("flavor", nullptr, Napi::String::New(env, posix::kFlavor)),
  };
  const napi_status status = napi_define_properties(env, exports, std::size(table), table);
  return status == napi_ok ? exports : Refuse(env, "the exports of the addon cannot be defined");
}

}  // namespace handover

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return handover::Init(env, exports); }

NODE_API_MODULE(handover, Init)
