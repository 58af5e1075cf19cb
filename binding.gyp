# The platform is chosen here, by file, and nowhere in the code. Windows has no SCM_RIGHTS: nothing is built there.
{
  'targets': [{
    'target_name': 'handover',
    'includes': ['native/common.gypi'],
    'conditions': [
      ['OS=="linux"', { 'sources': ['native/posix_linux.cc', 'native/peer_linux.cc'] }],
      ['OS=="mac"', { 'sources': ['native/posix_portable.cc', 'native/peer_darwin.cc'] }],
      ['OS!="linux" and OS!="mac"', { 'type': 'none' }],
    ],
  }],
}
