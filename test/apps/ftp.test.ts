// G2: an FTP server listens anew for each transfer, also while it drains.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { alive, gone, identify } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { fixture, load, Served } from './served.js';

expectNoLeaks();
const { start } = usePrograms();

interface FtpClient {
  access(options: object): Promise<unknown>;
  downloadTo(file: string, name: string): Promise<unknown>;
  close(): void;
}

it('sessions over three handovers: each that has begun goes on with its transfers', async () => {
  const root = temporaryFolder();
  writeFileSync(join(root, 'file'), 'x'.repeat(100_000));
  const passive = freePort();
  const served = await Served.start(start, {
    script: fixture('ftp.mjs'),
    args: () => [],
    env: () => ({
      HANDOVER_AUTO: '{"log":true}',
      ROOT: root,
      PASSIVE_MIN: String(passive),
      PASSIVE_MAX: String(passive + 200),
    }),
  });
  const { Client } = load<{ Client: new () => FtpClient }>('basic-ftp');
  const session = async (): Promise<FtpClient> => {
    const client = new Client();
    onTestFinished(() => client.close());
    await client.access({ host: '127.0.0.1', port: served.port });
    return client;
  };
  let transfers = 0;
  const transfer = async (client: FtpClient): Promise<void> => {
    const file = join(root, `copy${transfers++}`);
    await client.downloadTo(file, 'file');
    expect(readFileSync(file, 'utf8')).toBe('x'.repeat(100_000));
  };
  for (let handovers = 0; handovers < 3; handovers++) {
    const client = await session();
    await transfer(client);
    const old = identify(await served.pid()) ?? expect.unreachable('the server has ended');
    process.kill(old.pid, 'SIGUSR2');
    await served.program.errorLine(new RegExp(`generation ${handovers + 2} is in charge`), 60_000);
    // The one that drains serves on whoever is logged in.
    for (let i = 0; i < 5; i++) await transfer(client);
    expect(alive(old)).toBe(true);
    client.close();
    await gone(old, 60_000);
    expect(await served.pid()).not.toBe(old.pid);
  }
  expect(transfers).toBe(18);
  await served.stop();
}, 180_000);
