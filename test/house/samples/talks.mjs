// A program for the tests of the helpers: says it is ready, answers what it is told, may leave a process behind.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const forever = 'process.stdout.write(JSON.stringify({type:"orphan",pid:process.pid})+"\\n");setInterval(()=>{},1e6)';
const commands = {
  echo: ({ value }) => say({ type: 'echo', value }),
  exit: ({ code }) => process.exit(code),
  orphan: () =>
    spawn(process.execPath, ['-e', forever], { detached: true, stdio: ['ignore', 'inherit', 'inherit'] }).unref(),
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  commands[message.type](message);
});
say({ type: 'ready', pid: process.pid, args: process.argv.slice(2) });
