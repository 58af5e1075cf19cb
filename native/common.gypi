# The settings of every flavour. Paths are relative to this file.
{
  'sources': ['addon.cc', 'address.cc', 'describe.cc', 'descriptor.cc', 'poller.cc', 'process.cc', 'scm.cc', 'socket.cc'],
  # native/headers.mjs puts them there.
  'include_dirs': ['../headers'],
  'defines': [
    'NAPI_VERSION=8',
    'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
    # Without it, an error while a worker thread is being terminated aborts the process (node-addon-api, doc/error_handling.md).
    'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
  ],
  # No -Werror: the compiler of a user may have warnings that ours lacks. .ci/run sets it.
  'cflags': ['-Wall', '-Wextra', '-fvisibility=hidden'],
  # Node 22 and later require C++20, but the code must compile with the compiler of Node 20.
  'cflags_cc': ['-std=gnu++17', '-fno-exceptions'],
  'xcode_settings': {
    'CLANG_CXX_LANGUAGE_STANDARD': 'gnu++17',
    'CLANG_CXX_LIBRARY': 'libc++',
    'GCC_ENABLE_CPP_EXCEPTIONS': 'NO',
    'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
    'MACOSX_DEPLOYMENT_TARGET': '11.0',
    'WARNING_CFLAGS': ['-Wall', '-Wextra'],
  },
}
