// Ports that tests give to programs by number: free for these, and for nobody else until the test ends.
import { expect, it, onTestFinished } from 'vitest';
import { bindListener, closeFd } from '../../lib/fd/index.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort, freeUdpPort } from '../helpers/ports.js';

expectNoLeaks();

const host = '127.0.0.1';

function listen(options: Parameters<typeof bindListener>[0]): void {
  const fd = bindListener(options);
  onTestFinished(() => closeFd(fd));
}

it.runIf(process.platform === 'linux')(
  'a free port is listened at as Node does it, and is not chosen for anybody',
  () => {
    const port = freePort();
    // What the kernel asks of a port it chooses: that no socket has it at all.
    expect(() => bindListener({ host, port, reuseAddr: false })).toThrow('EADDRINUSE');
    expect(() => closeFd(bindListener({ port }))).not.toThrow();
    expect(() => closeFd(bindListener({ host: '0.0.0.0', port }))).not.toThrow();
    listen({ host, port });
    expect(() => bindListener({ host, port })).toThrow('EADDRINUSE');
  },
);

it('several share one with SO_REUSEPORT', () => {
  const port = freePort();
  for (let i = 0; i < 3; i++) listen({ host, port, reusePort: true });
});

it('one of UDP is none the kernel chooses, and kept from other tests', () => {
  const port = freeUdpPort();
  expect(port).toBeLessThan(32_768);
  expect(() => bindListener({ host, port, reuseAddr: false })).toThrow('EADDRINUSE');
  listen({ protocol: 'udp', host, port });
});
