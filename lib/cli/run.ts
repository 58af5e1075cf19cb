// `handover run`: keeps the pid and the listeners, and starts and replaces the workers.

import { LISTEN_SYNTAX } from '../endpoints/kinds.js';
import { takeActivation } from '../platform/activation.js';
import { ServiceManager } from '../platform/service-manager.js';
import { CONTROL, ControlServer, controlEndpoint } from '../process/control.js';
import { Ledger } from '../resources/ledger.js';
import { Listeners } from '../supervisor/listeners.js';
import { supervisorMethods } from '../supervisor/operations.js';
import { reapOrphans } from '../supervisor/reaper.js';
import { Supervisor } from '../supervisor/supervisor.js';
import { watchSources } from '../supervisor/watch.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import { CONTROL_OPTION, type Command, type Context } from './command.js';
import { outerSupervisor, stepAside } from './run-nested.js';
import { type RunOptions, runOptions } from './run-options.js';
import { count, type Ending, handleSignals, upgrade } from './run-signals.js';

export const command: Command = {
  args: '-- COMMAND [ARG ...]',
  summary: 'keep the pid and the listeners; start, restart and replace the workers',
  exitCodes:
    '0 drained as told, 1 the first start failed or a worker had to be killed, 2 wrong usage, 128 + N told twice',
  details: 'SIGHUP and SIGUSR2 replace them, SIGTTIN and SIGTTOU add and take one, SIGTERM drains and ends.',
  options: {
    workers: { type: 'string', value: 'N|auto', help: 'how many; auto: one for each CPU (default 1)' },
    listen: {
      type: 'string',
      value: '[NAME=]ADDRESS',
      multiple: true,
      help: `bind here and lend it to the workers: ${LISTEN_SYNTAX.join(', ')}`,
    },
    control: {
      ...CONTROL_OPTION,
      help: 'path of the control socket for the other commands; else HANDOVER_CONTROL',
    },
    'max-surge': { type: 'string', value: 'N', help: 'workers replaced at a time (default 1)' },
    'progress-deadline': {
      type: 'string',
      value: 'MS',
      help: 'a replacement that takes longer fails (default 120000)',
    },
    settle: { type: 'string', value: 'MS', help: 'a new worker is watched so long before the next one (default 1000)' },
    'stop-timeout': {
      type: 'string',
      value: 'MS',
      help: 'a worker that has not drained by then is killed (default 35000)',
    },
    fdstore: {
      type: 'boolean',
      help: 'have systemd keep the listeners while this process is restarted (default where systemd says $FDSTORE)',
    },
    watch: { type: 'boolean', help: 'replace the workers whenever a source is saved' },
    json: { type: 'boolean', help: 'what it reports on stderr as lines of JSON' },
  },
  run,
};

/**
 * Runs until a signal or `handover drain` ends it. Returns the exit code: 0 every worker has drained; 1 the first start failed,
 * or a worker had to be killed; 2 the command line was wrong; 128 and the signal's number after a second signal.
 */
async function run({ options, args, variables }: Context): Promise<number> {
  // A reader of stderr that has gone must not end the supervisor, which serves on.
  process.stderr.on('error', () => {});
  const outer = outerSupervisor(variables);
  if (outer !== undefined) return stepAside(outer, { options, args, variables });
  const chosen = runOptions(options, args, variables);
  // This removes NOTIFY_SOCKET and the watchdog's variables: a worker must not send messages for the service.
  const manager = new ServiceManager(variables, process.pid, chosen.systemd);
  const listeners = new Listeners();
  listeners.activate(takeActivation(variables, process.pid, process.ppid));
  const supervisor = makeSupervisor({ ...chosen, manager }, listeners);
  const ending = handleSignals(supervisor, chosen.report);
  const stopControl = control(supervisor, chosen, ending);
  try {
    return await supervise(supervisor, chosen, ending);
  } finally {
    stopControl();
    manager.end();
  }
}

/** Makes the supervisor. A malformed `--listen` is wrong usage (exit code 2); an address in use is a failure. */
function makeSupervisor(
  options: RunOptions & ConstructorParameters<typeof Supervisor>[0],
  listeners: Listeners,
): Supervisor {
  try {
    return new Supervisor(options, listeners);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new CommandError(EXIT.usage, error.message);
    throw error;
  }
}

async function supervise(
  supervisor: Supervisor,
  { watch, report, program }: RunOptions,
  ending: Ending,
): Promise<number> {
  const stopReaping = process.pid === 1 ? reapOrphans() : () => {};
  try {
    await supervisor.start();
  } catch (error) {
    // A supervisor that was told to end before it served has not failed.
    if (ending.told.aborted) return ending.ended;
    report((error as Error).message);
    return EXIT.failed;
  }
  report(`${count(supervisor)} (pid ${process.pid})`);
  const stopWatching = watch
    ? watchSources(program.cwd, {
        onSaved: (path) => upgrade(supervisor, `${path} was saved`, report),
        onError: (error) => report(`cannot watch ${program.cwd}: ${error.message}`),
      })
    : () => {};
  const code = await ending.ended;
  stopWatching();
  stopReaping();
  return code;
}

/**
 * Opens the control socket before the workers start. Returns a function that closes it and removes its path.
 * @throws ERR_HANDOVER_CONTROL_UNSAFE; EADDRINUSE of bind(2), where another supervisor has the path
 */
function control(supervisor: Supervisor, { control: path }: RunOptions, { end }: Ending): () => void {
  if (path === undefined) return () => {};
  const ledger = new Ledger();
  const { fd } = ledger.listener(CONTROL, controlEndpoint(path));
  const server = new ControlServer(
    fd,
    supervisorMethods(supervisor, path, () => end('asked to drain')),
  );
  return () => {
    server.close();
    ledger.close({ removePaths: true });
  };
}
