# The code of macOS, also built on Linux so that the tests exercise it: HANDOVER_PREBUILD=native/portable chooses it.
{
  'targets': [{
    'target_name': 'handover',
    'includes': ['../common.gypi'],
    'sources': ['../posix_portable.cc'],
    'conditions': [
      ['OS=="mac"', { 'sources': ['../peer_darwin.cc'] }, { 'sources': ['../peer_linux.cc'] }],
    ],
  }],
}
