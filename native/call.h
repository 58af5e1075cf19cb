// Turns `int F(int, Bytes, ...)` into a Node-API function. These calls are hot, so it uses raw Node-API, makes no JS
// object and allocates nothing. An argument of the wrong type is -EINVAL; TypeScript checks the values.
#ifndef HANDOVER_CALL_H_
#define HANDOVER_CALL_H_

#include <errno.h>
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tuple>
#include <utility>

namespace handover {

// Borrowed from a Uint8Array or an Int32Array for the time of one call.
struct Bytes {
  uint8_t* data;
  size_t size;
};
struct Ints {
  int32_t* data;
  size_t size;
};

// A string without NUL bytes, as system calls need it. No name that lib/fd passes is longer.
struct Text {
  char data[256];
};

inline bool Read(napi_env env, napi_value value, int* out) { return napi_get_value_int32(env, value, out) == napi_ok; }

inline bool Read(napi_env env, napi_value value, int64_t* out) {
  return napi_get_value_int64(env, value, out) == napi_ok;
}

inline bool Read(napi_env env, napi_value value, bool* out) { return napi_get_value_bool(env, value, out) == napi_ok; }

inline bool Read(napi_env env, napi_value value, Bytes* out) {
  napi_typedarray_type type;
  void* data;
  if (napi_get_typedarray_info(env, value, &type, &out->size, &data, nullptr, nullptr) != napi_ok) return false;
  out->data = static_cast<uint8_t*>(data);
  return type == napi_uint8_array;
}

inline bool Read(napi_env env, napi_value value, Ints* out) {
  napi_typedarray_type type;
  void* data;
  if (napi_get_typedarray_info(env, value, &type, &out->size, &data, nullptr, nullptr) != napi_ok) return false;
  out->data = static_cast<int32_t*>(data);
  return type == napi_int32_array;
}

inline bool Read(napi_env env, napi_value value, Text* out) {
  size_t size;
  if (napi_get_value_string_utf8(env, value, out->data, sizeof(out->data), &size) != napi_ok) return false;
  return size + 1 < sizeof(out->data) && strlen(out->data) == size;
}

inline napi_value Int(napi_env env, int value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

template <auto Function>
struct Call;

template <typename... Arg, int (*Function)(Arg...)>
struct Call<Function> {
  static napi_value Run(napi_env env, napi_callback_info info) {
    return Run(env, info, std::index_sequence_for<Arg...>());
  }

 private:
  template <size_t... I>
  static napi_value Run(napi_env env, napi_callback_info info, std::index_sequence<I...>) {
    size_t argc = sizeof...(Arg);
    napi_value argv[sizeof...(Arg)];
    std::tuple<std::decay_t<Arg>...> args;
    if (napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) != napi_ok) return Int(env, -EINVAL);
    const bool readable = (Read(env, argv[I], &std::get<I>(args)) && ...);
    return Int(env, readable ? Function(std::get<I>(args)...) : -EINVAL);
  }
};

}  // namespace handover

#endif  // HANDOVER_CALL_H_
