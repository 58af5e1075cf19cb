// The operator's page for each error, in one table: a test holds the table of docs/errors.md to it.
import type { HandoverErrorCode } from '../errors.js';

export interface Explanation {
  readonly happened: string;
  /** Whether the old process still serves. */
  readonly stillServing: string;
  /** Empty: nothing. */
  readonly action: string;
  readonly more?: string;
}

export const EXPLANATIONS: Readonly<Record<HandoverErrorCode, Explanation>> = {
  ERR_HANDOVER_SUCCESSOR_EXITED: {
    happened:
      'the new process ended before it was in charge, or within `--settle`; exit code, signal and stderr are on the error',
    stillServing: 'yes',
    action: 'fix the release',
    more: 'The exit code or signal and the last lines of stderr are in the error and in the log of the old process. Try the new release alone: its command is what `handover upgrade --dry-run` prints.',
  },
  ERR_HANDOVER_TIMEOUT: {
    happened:
      'the new process was not ready within `readyTimeout` or `--progress-deadline`, did not answer COMMIT, or hung while in charge; it has been stopped',
    stillServing: 'yes',
    action: 'find out what it waits for; or raise `readyTimeout` or `--progress-deadline`',
    more: '`phase` says where: in PREPARE the app did not call `ready()` in time (a database that does not answer, a slow warm-up), in COMMIT its event loop was blocked, later it hung. A takeover that waits for the lock of another start ends with this code, too.',
  },
  ERR_HANDOVER_PROBATION_FAILED: {
    happened:
      'the new process ended, fell silent or was not healthy on probation; `cause` says which, `connectionsLost` how many connections it owned',
    stillServing: 'yes',
    action: 'fix the release',
    more: 'Both processes accepted while the new one was watched. `cause` has the code of what went wrong; connections the new one had accepted ended with it, the others never left the old one.',
  },
  ERR_HANDOVER_CHECK_FAILED: {
    happened: 'the `preflight.command` of the new release failed; `stderr` is on the error',
    stillServing: 'yes, nothing was started',
    action: 'fix the release',
  },
  ERR_HANDOVER_NO_MEMORY: {
    happened: 'the cgroup has no room for a second process of this size',
    stillServing: 'yes, nothing was started',
    action: 'raise memory.max; or `preflight: { memory: false }`',
    more: 'Two generations run side by side for the time of the handover. `handover doctor` shows what the cgroup has left.',
  },
  ERR_HANDOVER_TOO_MANY_DRAINING: {
    happened: '`maxDraining` older generations still drain; the message lists them',
    stillServing: 'yes, nothing was started',
    action: 'wait; lower `drain.timeout`; or `forceOldest: true`',
    more: '`handover status` shows the old generations and how many connections each still has.',
  },
  ERR_HANDOVER_PID_FILE: {
    happened:
      'raised in the successor at COMMIT: the pid file cannot be written, or other users can write to its directory',
    stillServing: 'yes',
    action: 'free disk space, or fix the permissions',
  },
  ERR_HANDOVER_TAKEOVER_REFUSED: {
    happened: 'raised in the process that asked: its user is not allowed to take over',
    stillServing: 'yes',
    action: 'run it as the same user, or set `allow`',
  },
  ERR_HANDOVER_TAKEOVER_UNSAFE: {
    happened: 'other users can write to the directory of the takeover socket',
    stillServing: 'as before',
    action: 'own the directory, and run `chmod go-w` on it',
    more: 'A user who can write to the directory can put another socket at the path. A directory for the socket alone, mode 0700, is best: RuntimeDirectory= in a systemd unit makes one.',
  },
  ERR_HANDOVER_CONTROL_REFUSED: {
    happened: 'the user who asked is not allowed to control the process',
    stillServing: 'yes',
    action: 'run the command as the same user, or as root',
    more: 'The kernel tells the process which user is at the other end of the socket: only the user of the process and root may control it.',
  },
  ERR_HANDOVER_UNSAFE_DIRECTORY: {
    happened: 'a Unix listener with `mode`, `uid` or `gid` in a directory where other users can exchange its file',
    stillServing: 'as before',
    action: 'own the directory, and run `chmod go-w` or `chmod +t` on it; or leave the mode to the umask',
    more: 'Mode and owner are set by the path, between bind(2) and listen(2): a user who can write to the directory can put another file there in that moment. A directory for the socket alone is best: RuntimeDirectory= in a systemd unit makes one.',
  },
  ERR_HANDOVER_CONTROL_UNSAFE: {
    happened: 'other users can write to the directory of the control socket',
    stillServing: 'as before',
    action: 'own the directory, and run `chmod go-w` on it',
    more: 'A user who can write to the directory can put another socket at the path. A directory for the socket alone, mode 0700, is best: RuntimeDirectory= in a systemd unit makes one.',
  },
  ERR_HANDOVER_CANCELLED: {
    happened: 'an operator aborted the handover (`handover abort`)',
    stillServing: 'yes',
    action: 'ask the operator; try again',
  },
  ERR_HANDOVER_ABORTED: {
    happened: 'the other process aborted the handover, and gave a reason',
    stillServing: 'the predecessor does',
    action: 'read the reason',
  },
  ERR_HANDOVER_ANOTHER_IN_CHARGE: {
    happened:
      'three generations were alive, the process in charge died, and another process than this one took charge: this process answers its open requests, and ends',
    stillServing: 'the other one does',
    action: 'upgrade again',
    more: 'An older generation that still drains takes the charge back before a successor that was never committed gets it. `handover status` shows which process has it and which may take it back.',
  },
  ERR_HANDOVER_ADDRESS_IN_USE: {
    happened: 'raised in the successor: it binds an address the predecessor holds and did not hand over',
    stillServing: 'yes',
    action: 'open it with `handover.listen()` in both releases, under one name',
    more: '`handover upgrade --dry-run` shows which listeners the new release claims, adds and leaves.',
  },
  ERR_HANDOVER_UNCLAIMED: {
    happened:
      'the successor did not claim a listener that was handed over, so clients would be refused there: the release does not open it, opens it at another address or under another name, or its app looked for a free port',
    stillServing: 'yes',
    action:
      "listen there under that name and address before `ready()`; where the release drops it on purpose, set `unclaimed` to `'close'` or to its name in the new release",
    more: 'The message names the listener, its address, and what the successor has bound instead.',
  },
  ERR_HANDOVER_WOULD_ORPHAN: {
    happened:
      'pid 1, or an init that ends with the server as pid 1 (`docker run --init`; the message names it), `npm start` or a shell as the main process of a systemd unit, systemd that this process cannot notify, Server::Starter, einhorn, pm2, a cluster worker, a primary that has some, a worker thread, a parent with IPC, `prepare()` in a worker of `handover run`: the successor would die with, or live beside, this process',
    stillServing: 'yes, nothing was started',
    action: 'under systemd `Type=notify`; else let the supervisor restart it, or `allowOrphan: true`',
    more: 'Where a container or supervisor ends with its first process, that process cannot replace itself: let a process that stays keep the pid, such as `handover run`.',
  },
  ERR_HANDOVER_COMMAND_NOT_FOUND: {
    happened: 'the executable of this process is gone',
    stillServing: 'yes, nothing was started',
    action: 'restore it',
  },
  ERR_HANDOVER_SPAWN_FAILED: {
    happened: 'the system refused to start the process, or `successor.env` failed; `cause` says why',
    stillServing: 'yes',
    action: 'see `cause` (EAGAIN, ENOMEM, a working directory that is gone …)',
  },
  ERR_HANDOVER_IN_PROGRESS: {
    happened: 'another handover is under way',
    stillServing: 'yes',
    action: 'wait for it',
    more: '`handover status` shows the phase. A standby that is neither committed nor discarded counts, too.',
  },
  ERR_HANDOVER_NOT_READY: {
    happened: '`upgrade()` before `ready()`; or there is no paused roll to resume or roll back',
    stillServing: 'as before',
    action: 'await `ready()`; see `handover status`',
  },
  ERR_HANDOVER_CLOSED: {
    happened: 'the process has handed over or is shutting down',
    stillServing: 'no',
    action: '',
  },
  ERR_HANDOVER_ALREADY_OPEN: {
    happened: '`openHandover()` twice in one process',
    stillServing: 'as before',
    action: 'open it once',
  },
  ERR_HANDOVER_VERSION: {
    happened: 'the two releases speak no common protocol',
    stillServing: 'yes',
    action: 'restart the service once',
  },
  ERR_HANDOVER_PROTOCOL: {
    happened: 'the other process broke the protocol',
    stillServing: 'yes',
    action: 'report it',
  },
  ERR_HANDOVER_PEER_LOST: {
    happened: 'raised in the successor: the predecessor died before it had handed anything over',
    stillServing: 'no',
    action: 'start it again',
    more: 'On the command line: the process ended, or was restarted, before it answered. `handover status` shows the process that serves now.',
  },
  ERR_HANDOVER_DESCRIPTORS: {
    happened: 'descriptors did not fit into the table of the successor, or it has too few left to serve',
    stillServing: 'yes',
    action: 'raise its RLIMIT_NOFILE',
    more: 'Both processes need descriptors for every listener and for the connections that migrate. `handover doctor` shows the limit.',
  },
  ERR_HANDOVER_UNSUPPORTED: {
    happened: 'no addon for this platform, or none beside a bundle; `serve()` listens without handovers',
    stillServing: 'yes',
    action: 'build the addon, mark the package external in the bundler, or restart the service',
  },
  ERR_HANDOVER_SUPERVISOR_REFUSED: {
    happened:
      'raised in a process under `handover run`: it belongs to no worker, or another process of its worker listens already',
    stillServing: 'the worker as it is',
    action: 'start one server in each worker; unset `HANDOVER_SUPERVISOR` in a process that is no worker',
    more: 'A process belongs to a worker when it descends from the process that the supervisor started, or is in its process group or session.',
  },
  ERR_HANDOVER_UNKNOWN_COMMAND: {
    happened:
      'the process asked over its control socket does not know the command: `scale`, `resume` and `rollback` are for `handover run`',
    stillServing: 'yes',
    action: 'ask a process that knows it, or hand over to a newer release first',
    more: 'An older release of this package may know fewer commands than the command line that asks.',
  },
  ERR_HANDOVER_INTERNAL: {
    happened: 'a bug of this package',
    stillServing: 'yes',
    action: 'report it, with the stack',
  },
  ERR_HANDOVER_ACTIVATION: {
    happened:
      'a variable that announces sockets is malformed, or names a descriptor that is no such listener; the message names both',
    stillServing: 'as before',
    action: 'fix the program that starts the process, or unset the variable',
  },
  ERR_HANDOVER_CERTIFICATE: {
    happened:
      '`reloadCertificates`: the key does not belong to the certificate, it is not in date, or not PEM; the message says which',
    stillServing: 'as before, with the pair in use',
    action: 'renew the certificate, or fix the files',
  },
};
