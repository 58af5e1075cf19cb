// The command line without any process: help, usage, explanations, and how the socket is found.
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EXPLANATIONS } from '../../lib/cli/explanations.js';
import { HANDOVER_ERROR_CODES } from '../../lib/errors.js';
import { bindListener, closeFd } from '../../lib/fd/index.js';
import { Output, type Stream } from '../../lib/terminal/output.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { handover, jsonOf } from './command.js';

expectNoLeaks();

describe('the help', () => {
  it('names every command', async () => {
    const { code, stdout, stderr } = await handover(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatchInlineSnapshot(`
      "usage: handover COMMAND [OPTIONS]

        run -- COMMAND [ARG ...]  keep the pid and the listeners; start, restart and replace the workers
        upgrade                   hand over to a new process, and wait until it is in charge
        abort                     give up the handover under way, or a standby that waits; the old process serves on
        scale N                   change the number of workers of handover run; no connection closes
        resume                    go on with a roll of handover run that has paused
        rollback                  put back the release of the workers that a paused roll has replaced
        status                    generation, phase, listeners and their queues, connections, what drains
        drain                     end the process politely, and wait until its last connection has ended
        doctor                    find settings of this machine with which a handover is refused or loses connections
        build                     compile the addon where no prebuilt file fits: needs a C++ compiler, make and Python
        explain [CODE]            what an error code means, whether the old process still serves, and what to do
        hammer URL                put a load on any server, and account for every single request
        report DATA.json          make a page of what handover hammer --json has printed

      handover COMMAND --help says more; handover --version
      exit codes: 0 done, 1 failed, 2 wrong usage, 3 no process there, 4 not allowed
      "
    `);
    expect(await handover(['help'])).toEqual({ code: 0, stdout, stderr });
  });

  it('of a command names its options', async () => {
    const { code, stdout } = await handover(['upgrade', '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatchInlineSnapshot(`
      "usage: handover upgrade [OPTIONS]

        hand over to a new process, and wait until it is in charge
        Shows the phases as they happen. The handover goes on when this command is interrupted.

        --dry-run       start the new release as a standby, say what would change, and end it; nothing is handed over
        --if-changed    do nothing when the command leads to the same files (path, size, time) and package versions as at the start
        --profile DIR   write CPU profiles of the successor's start and of the drain of the old process into this directory
        --control PATH  the control socket; else HANDOVER_CONTROL, else the only *.sock in $XDG_RUNTIME_DIR/handover or /run/handover
        --json          lines of JSON instead of text
        --help          this text

      exit codes: 0 done, 1 failed, 2 wrong usage, 3 no process there, 4 not allowed
      "
    `);
    expect((await handover(['help', 'upgrade'])).stdout).toBe(stdout);
  });

  it('the version is the package’s', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect((await handover(['--version'])).stdout).toBe(`${version}\n`);
  });
});

describe('wrong usage ends with 2, and says what is wrong', () => {
  it.each([
    [[], /^usage: handover COMMAND/],
    [['frobnicate'], /there is no command 'frobnicate'; the commands are run, upgrade/],
    [['status', '--frobnicate'], /Unknown option '--frobnicate'; see handover status --help/],
    [['status', 'now'], /'status' takes no argument: now/],
    [['status', '--control'], /'--control <value>' argument missing/],
    [['status', '--json=yes'], /'--json' does not take an argument/],
    [['drain', '--delay', 'soon', '--control', 'x'], /--delay is a number of seconds. Received 'soon'/],
    [['explain', 'NO_SUCH_CODE'], /there is no code NO_SUCH_CODE/],
    [['explain', 'TIMEOUT', 'CLOSED'], /one code at a time/],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await handover(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });

  it('as a line of JSON, too', async () => {
    const ended = await handover(['status', '--frobnicate', '--json']);
    expect(ended.code).toBe(2);
    expect(jsonOf(ended)).toEqual([{ type: 'error', message: expect.stringContaining('--frobnicate'), exitCode: 2 }]);
  });
});

describe('explain', () => {
  it('tells what to do, by the whole code or its end', async () => {
    const { code, stdout } = await handover(['explain', 'ERR_HANDOVER_NO_MEMORY']);
    expect(code).toBe(0);
    expect(stdout).toContain('raise memory.max');
    expect((await handover(['explain', 'no_memory'])).stdout).toBe(stdout);
    expect(jsonOf(await handover(['explain', 'NO_MEMORY', '--json']))).toEqual([
      { code: 'ERR_HANDOVER_NO_MEMORY', ...EXPLANATIONS.ERR_HANDOVER_NO_MEMORY },
    ]);
  });

  it('without a code lists all of them', async () => {
    const { stdout } = await handover(['explain']);
    expect(stdout.match(/^ERR_\w+/gm)).toEqual([...HANDOVER_ERROR_CODES]);
  });

  it('says what docs/errors.md says, code by code', () => {
    const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
    const rows = page.split('\n').filter((line) => line.startsWith('| `ERR_HANDOVER_'));
    const table = rows.map((row) =>
      row
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
    const own = Object.entries(EXPLANATIONS).map(([code, { happened, stillServing, action }]) => [
      `\`${code}\``,
      happened,
      stillServing,
      action,
    ]);
    expect([...table].sort()).toEqual([...own].sort());
    expect(Object.keys(EXPLANATIONS).sort()).toEqual([...HANDOVER_ERROR_CODES].sort());
  });
});

describe('the control socket', () => {
  /** A file of a socket; nobody answers on it. */
  async function socketAt(path: string): Promise<void> {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(() => void server.close());
  }

  it('is missing: exit code 3, and where it was looked for', async () => {
    const folder = privateFolder();
    const { code, stderr } = await handover(['status'], { env: { XDG_RUNTIME_DIR: folder } });
    expect(code).toBe(3);
    expect(stderr).toContain(`${folder}/handover or /run/handover`);
    const path = join(folder, 'none.sock');
    for (const said of [
      ['status', '--control', path],
      ['drain', '--control', path],
    ]) {
      expect(await handover(said)).toMatchObject({ code: 3, stderr: `no process there: ${path} does not exist\n` });
    }
    expect(await handover(['status'], { env: { HANDOVER_CONTROL: path } })).toMatchObject({ code: 3 });
  });

  it('that is the only one is taken; a takeover socket beside it is not', async () => {
    const folder = privateFolder();
    mkdirSync(join(folder, 'handover'));
    await socketAt(join(folder, 'handover', 'web.sock'));
    await socketAt(join(folder, 'handover', 'web.takeover.sock'));
    const { code, stderr } = await handover(['status'], { env: { XDG_RUNTIME_DIR: folder } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/web\.sock hung up before it answered/);
  });

  it('of several must be named: exit code 2, and which there are', async () => {
    const folder = privateFolder();
    mkdirSync(join(folder, 'handover'));
    for (const name of ['web.sock', 'api.sock']) await socketAt(join(folder, 'handover', name));
    const { code, stderr } = await handover(['status'], { env: { XDG_RUNTIME_DIR: folder } });
    expect(code).toBe(2);
    expect(stderr).toContain(`there are 2 control sockets, give one as --control PATH: ${folder}/handover/api.sock`);
  });

  it('that nobody listens on any more: exit code 3', async () => {
    const path = join(privateFolder(), 'dead.sock');
    closeFd(bindListener({ path }));
    const ended = await handover(['status', '--control', path, '--json']);
    const message = `no process there: no process listens on ${path} any more`;
    expect(ended).toMatchObject({ code: 3, stderr: `${message}\n` });
    expect(jsonOf(ended)).toEqual([{ type: 'error', message, exitCode: 3 }]);
  });
});

describe('colours', () => {
  const written = (isTTY: boolean, variables: NodeJS.ProcessEnv): string => {
    let all = '';
    const stream: Stream = { isTTY, write: (text) => (all += text) };
    const output = new Output(false, variables, stream, stream);
    output.line(output.styled('red', 'no'));
    return all;
  };

  it('only on a terminal, and not where NO_COLOR is set', () => {
    expect(written(true, {})).toBe('\u001b[31mno\u001b[39m\n');
    expect(written(true, { NO_COLOR: '' })).toBe('\u001b[31mno\u001b[39m\n');
    expect(written(true, { NO_COLOR: '1' })).toBe('no\n');
    expect(written(true, { TERM: 'dumb' })).toBe('no\n');
    expect(written(false, {})).toBe('no\n');
  });
});
