// Readiness of a descriptor, from the loop of the calling environment (uv_poll_t).
//
// Two objects, each with one owner. The loop owns `Watch`, which holds the uv handle: only the callback of uv_close
// frees it. The JS object owns `Poller`: the finalizer frees it, and its pointer to the watch is cleared as soon as the
// watch begins to close. Raw Node-API, because wrappers throw, and a worker thread that is being terminated cannot.
#include <errno.h>
#include <node_api.h>
#include <sys/stat.h>
#include <uv.h>

#include "bindings.h"

namespace handover {

namespace {

// Distinguishes our objects from those of other addons, which napi_unwrap accepts, too.
constexpr napi_type_tag kPollerTag = {0x9d2c5680a1f34b7e, 0xb6e40f12c83d4e59};

struct Watch;

struct Poller {
  Watch* watch;
};

struct Watch {
  uv_poll_t handle;
  napi_env env = nullptr;
  Poller* poller = nullptr;
  napi_ref self = nullptr;  // strong while armed, so that an armed poller is not collected
  napi_ref callback = nullptr;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  bool armed = false;
  int fd = -1;
  dev_t device = 0;
  ino_t inode = 0;
  bool owns_fd = false;   // the descriptor closes with the environment, unless JS closed it before
  bool close_fd = false;  // the environment is ending, so JS will not close it
};

// If other code closed the number, it names no file, or another one: libuv aborts the process on the former when it
// arms epoll, and would wait for the latter for ever.
bool IsStillOpen(const Watch* watch) {
  struct stat now;
  return fstat(watch->fd, &now) == 0 && now.st_dev == watch->device && now.st_ino == watch->inode;
}

void SetArmed(Watch* watch, bool armed) {
  if (watch->armed == armed) return;
  watch->armed = armed;
  if (armed) {
    napi_reference_ref(watch->env, watch->self, nullptr);
  } else {
    napi_reference_unref(watch->env, watch->self, nullptr);
  }
}

void OnClosed(uv_handle_t* handle) {
  auto* watch = static_cast<Watch*>(handle->data);
  if (watch->self != nullptr) napi_delete_reference(watch->env, watch->self);
  if (watch->callback != nullptr) napi_delete_reference(watch->env, watch->callback);
  if (watch->context != nullptr) napi_async_destroy(watch->env, watch->context);
  // Also lets an environment that shuts down go on.
  if (watch->hook != nullptr) napi_remove_async_cleanup_hook(watch->hook);
  // Closed only now, after libuv has taken the descriptor out of its epoll set.
  if (watch->close_fd && IsStillOpen(watch)) Close(watch->fd);
  delete watch;
}

void CloseWatch(Watch* watch) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&watch->handle);
  if (uv_is_closing(handle)) return;
  if (watch->poller != nullptr) watch->poller->watch = nullptr;
  uv_close(handle, OnClosed);
}

void OnEnvironmentExit(napi_async_cleanup_hook_handle, void* data) {
  auto* watch = static_cast<Watch*>(data);
  // The owner of a watch that is closing already has closed the descriptor, too.
  watch->close_fd = watch->owns_fd && !uv_is_closing(reinterpret_cast<uv_handle_t*>(&watch->handle));
  CloseWatch(watch);
}

void OnCollected(napi_env, void* data, void*) {
  auto* poller = static_cast<Poller*>(data);
  if (poller->watch != nullptr) {
    poller->watch->poller = nullptr;
    CloseWatch(poller->watch);
  }
  delete poller;
}

void OnReady(uv_poll_t* handle, int status, int events) {
  auto* watch = static_cast<Watch*>(handle->data);
  napi_env env = watch->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value self = nullptr;
  napi_value callback = nullptr;
  napi_get_reference_value(env, watch->self, &self);
  napi_get_reference_value(env, watch->callback, &callback);
  if (status < 0) SetArmed(watch, false);  // libuv has stopped it
  napi_value argv[] = {Int(env, status), Int(env, events)};
  // Runs microtasks and process.nextTick afterwards. The watch may be closing when it returns.
  napi_make_callback(env, watch->context, self, callback, 2, argv, nullptr);
  bool thrown = false;
  if (napi_is_exception_pending(env, &thrown) == napi_ok && thrown) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

// Null for a closed poller, and for a `this` that is no poller.
Watch* WatchOf(napi_env env, napi_callback_info info, size_t* argc = nullptr, napi_value* argv = nullptr) {
  napi_value self;
  bool ours = false;
  void* poller;
  if (napi_get_cb_info(env, info, argc, argv, &self, nullptr) != napi_ok) return nullptr;
  if (napi_check_object_type_tag(env, self, &kPollerTag, &ours) != napi_ok || !ours) return nullptr;
  return napi_unwrap(env, self, &poller) == napi_ok ? static_cast<Poller*>(poller)->watch : nullptr;
}

napi_value Start(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  int events;
  Watch* watch = WatchOf(env, info, &argc, argv);
  if (watch == nullptr) return Int(env, -EBADF);
  // Checked here, because libuv asserts on bad events.
  if (!Read(env, argv[0], &events) || events == 0 || (events & ~(UV_READABLE | UV_WRITABLE)) != 0) {
    return Int(env, -EINVAL);
  }
  if (!IsStillOpen(watch)) return Int(env, -EBADF);
  const int error = uv_poll_start(&watch->handle, events, OnReady);
  if (error == 0) SetArmed(watch, true);
  return Int(env, error);
}

napi_value Stop(napi_env env, napi_callback_info info) {
  if (Watch* watch = WatchOf(env, info)) {
    uv_poll_stop(&watch->handle);
    SetArmed(watch, false);
  }
  return nullptr;
}

napi_value CloseMethod(napi_env env, napi_callback_info info) {
  if (Watch* watch = WatchOf(env, info)) CloseWatch(watch);
  return nullptr;
}

napi_value Ref(napi_env env, napi_callback_info info) {
  if (Watch* watch = WatchOf(env, info)) uv_ref(reinterpret_cast<uv_handle_t*>(&watch->handle));
  return nullptr;
}

napi_value Unref(napi_env env, napi_callback_info info) {
  if (Watch* watch = WatchOf(env, info)) uv_unref(reinterpret_cast<uv_handle_t*>(&watch->handle));
  return nullptr;
}

// Makes the JS side of a watch: an object with the five methods, and the references the watch needs to call back.
bool Attach(napi_env env, Watch* watch, napi_value callback, napi_value* object) {
  const napi_property_descriptor methods[] = {
      {"start", nullptr, Start, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"stop", nullptr, Stop, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"close", nullptr, CloseMethod, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"ref", nullptr, Ref, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"unref", nullptr, Unref, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_value name;
  if (napi_create_object(env, object) != napi_ok ||
      napi_define_properties(env, *object, sizeof(methods) / sizeof(*methods), methods) != napi_ok ||
      napi_type_tag_object(env, *object, &kPollerTag) != napi_ok ||
      napi_create_string_utf8(env, "HandoverPoller", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      // No resource is given: Node 26 holds a given one, so the poller would never be collected.
      napi_async_init(env, nullptr, name, &watch->context) != napi_ok ||
      napi_create_reference(env, callback, 1, &watch->callback) != napi_ok ||
      // Not the reference of napi_wrap: deleting that one before the object is collected frees the wrap under it.
      napi_create_reference(env, *object, 0, &watch->self) != napi_ok ||
      napi_add_async_cleanup_hook(env, OnEnvironmentExit, watch, &watch->hook) != napi_ok) {
    return false;
  }
  watch->poller = new Poller{watch};
  if (napi_wrap(env, *object, watch->poller, OnCollected, nullptr, nullptr) == napi_ok) return true;
  delete std::exchange(watch->poller, nullptr);
  return false;
}

}  // namespace

// Whether the running libuv and the headers of the build agree on the size of the handle inside each watch: a larger
// handle would overwrite the members after it.
bool PollerFits() { return uv_handle_size(UV_POLL) == sizeof(uv_poll_t); }

napi_value OpenPoller(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3];
  int fd;
  bool owns_fd = false;
  napi_valuetype type;
  uv_loop_t* loop;
  if (napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) != napi_ok || !Read(env, argv[0], &fd) ||
      (argc > 2 && !Read(env, argv[2], &owns_fd)) || napi_typeof(env, argv[1], &type) != napi_ok ||
      type != napi_function || napi_get_uv_event_loop(env, &loop) != napi_ok) {
    return Int(env, -EINVAL);
  }
  struct stat status;
  if (fstat(fd, &status) != 0) return Int(env, -errno);
  auto* watch = new Watch;
  watch->env = env;
  watch->fd = fd;
  watch->device = status.st_dev;
  watch->inode = status.st_ino;
  watch->owns_fd = owns_fd;
  if (const int error = uv_poll_init(loop, &watch->handle, fd); error < 0) {
    delete watch;  // the handle never joined the loop
    return Int(env, error);
  }
  watch->handle.data = watch;
  napi_value object;
  if (Attach(env, watch, argv[1], &object)) return object;
  CloseWatch(watch);
  return Int(env, -ENOMEM);
}

}  // namespace handover
