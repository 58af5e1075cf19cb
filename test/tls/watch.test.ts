// reloadCertificates with watch: true: files are followed as those who renew certificates change them.
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, utimesSync, watch, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { HandoverEvents } from '../../lib/events.js';
import { FollowedFiles } from '../../lib/protocols/tls/files.js';
import { type Certificates, reloadCertificates } from '../../lib/tls.js';
import { familyOf, LOCALHOST, privateFolder } from '../engine/engine.js';
import { boot, useApps } from '../handover/apps.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { visitTls } from './clients.js';
import { type Pair, pairBetween, pairOf, writePair } from './pairs.js';

// libuv opens its inotify descriptor with the first watch and keeps it.
watch(tmpdir()).close();
expectNoLeaks();
const apps = useApps();

/** What is published while a test runs. */
class Events {
  readonly loaded: string[] = [];
  readonly refused: HandoverEvents['certificates-refused'][] = [];
  #wake: () => void = () => {};

  constructor() {
    const onLoaded = (event: unknown): void => {
      this.loaded.push((event as HandoverEvents['certificates']).fingerprint256);
      this.#wake();
    };
    const onRefused = (event: unknown): void => {
      this.refused.push(event as HandoverEvents['certificates-refused']);
      this.#wake();
    };
    subscribe('handover:certificates', onLoaded);
    subscribe('handover:certificates-refused', onRefused);
    onTestFinished(() => {
      unsubscribe('handover:certificates', onLoaded);
      unsubscribe('handover:certificates-refused', onRefused);
    });
  }

  async until(isEnough: () => boolean): Promise<void> {
    while (!isEnough()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves when this pair is in use. */
  async uses(pair: Pair): Promise<void> {
    await this.until(() => this.loaded.at(-1) === fingerprint(pair));
  }
}

const fingerprint = ({ cert }: Pair): string => new X509Certificate(cert).fingerprint256;

interface Setup {
  readonly server: https.Server;
  readonly events: Events;
  readonly certificates: Certificates;
  readonly port: number;
}

/** A server that follows `key.pem` and `cert.pem` at a path. */
async function following(path: string): Promise<Setup> {
  const events = new Events();
  const server = https.createServer((_, response) => response.setHeader('x-pid', process.pid).end('hello'));
  const files = { key: join(path, 'key.pem'), cert: join(path, 'cert.pem') };
  const certificates = reloadCertificates(server, { ...files, watch: true });
  server.listen(0, LOCALHOST);
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    await once(server, 'close');
  });
  return { server, events, certificates, port: (server.address() as AddressInfo).port };
}

const seenBy = async ({ port }: Setup): Promise<string> => (await visitTls(port, 'TLSv1.3')).fingerprint;

/** As atomic writers do. */
function replace(folder: string, name: 'key' | 'cert', pair: Pair): void {
  writeFileSync(join(folder, `.${name}`), pair[name]);
  renameSync(join(folder, `.${name}`), join(folder, `${name}.pem`));
}

/** Resolves when whoever followed this file before has looked at it after its next change. */
function nextChange(path: string): Promise<void> {
  return new Promise((resolve) => {
    const files = new FollowedFiles([path], () => {
      files.close();
      resolve();
    });
  });
}

/** Directories this process watches (proc(5), /proc/pid/fdinfo). */
function watchedDirectories(): number {
  return [...openDescriptors()]
    .filter(([, target]) => target.includes('inotify'))
    .flatMap(([fd]) => readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(/^inotify wd/gm) ?? []).length;
}

/** A symlink that is another one from one moment to the next. */
function relink(target: string, link: string): void {
  symlinkSync(target, `${link}.new`);
  renameSync(`${link}.new`, link);
}

describe('follows', () => {
  it('files that are renamed over, and files that are written in place', async () => {
    const [first, second, third] = [pairOf('1'), pairOf('2'), pairOf('3')];
    const folder = privateFolder();
    writePair(folder, first);
    const setup = await following(folder);
    expect(await seenBy(setup)).toBe(fingerprint(first));
    expect(setup.certificates.certificate.fingerprint256).toBe(fingerprint(first));
    replace(folder, 'key', second);
    replace(folder, 'cert', second);
    await setup.events.uses(second);
    expect(await seenBy(setup)).toBe(fingerprint(second));
    writePair(folder, third);
    await setup.events.uses(third);
    expect(setup.certificates.certificate.fingerprint256).toBe(fingerprint(third));
    expect(await seenBy(setup)).toBe(fingerprint(third));
  });

  it('symlinks as certbot sets them, several times', async () => {
    const root = privateFolder();
    const live = join(root, 'live');
    mkdirSync(live);
    const renew = (number: number): Pair => {
      const pair = pairOf(`certbot ${number}`);
      writePair(join(root, 'archive', `${number}`), pair);
      for (const name of ['key.pem', 'cert.pem']) relink(`../archive/${number}/${name}`, join(live, name));
      return pair;
    };
    const first = renew(1);
    const setup = await following(live);
    expect(await seenBy(setup)).toBe(fingerprint(first));
    for (const number of [2, 3, 4]) await setup.events.uses(renew(number));
  });

  it('..data as Kubernetes sets it, the old folder removed', async () => {
    const root = privateFolder();
    const renew = (number: number): Pair => {
      const pair = pairOf(`kubernetes ${number}`);
      writePair(join(root, `..2026_${number}`), pair);
      relink(`..2026_${number}`, join(root, '..data'));
      rmSync(join(root, `..2026_${number - 1}`), { recursive: true, force: true });
      return pair;
    };
    renew(1);
    for (const name of ['key.pem', 'cert.pem']) symlinkSync(`..data/${name}`, join(root, name));
    const setup = await following(root);
    for (const number of [2, 3, 4]) await setup.events.uses(renew(number));
    expect(setup.events.refused).toEqual([]);
  });

  it('a symlink further up, with an absolute target', async () => {
    const root = privateFolder();
    const release = (number: number): Pair => {
      const pair = pairOf(`release ${number}`);
      writePair(join(root, `release-${number}`, 'tls'), pair);
      relink(join(root, `release-${number}`), join(root, 'current'));
      return pair;
    };
    release(1);
    const setup = await following(join(root, 'current', 'tls'));
    for (const number of [2, 3]) await setup.events.uses(release(number));
  });

  it('a folder that is replaced by another', async () => {
    const root = privateFolder();
    const folder = join(root, 'tls');
    writePair(folder, pairOf('1'));
    const setup = await following(folder);
    for (const number of [2, 3]) {
      const pair = pairOf(`${number}`);
      writePair(`${folder}.new`, pair);
      const { length } = setup.events.refused;
      renameSync(folder, `${folder}.${number}`);
      await setup.events.until(() => setup.events.refused.length > length);
      renameSync(`${folder}.new`, folder);
      await setup.events.uses(pair);
    }
  });

  it('file: URLs', async () => {
    const folder = privateFolder();
    writePair(folder, pairOf('1'));
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => pathToFileURL(join(folder, name)));
    const events = new Events();
    using _ = reloadCertificates(https.createServer(), { key: key as URL, cert: cert as URL, watch: true });
    const second = pairOf('2');
    writePair(folder, second);
    await events.uses(second);
  });
});

describe('keeps the pair in use', () => {
  it('while only one of the two files is there, and takes the other when it comes', async () => {
    const [first, second] = [pairOf('1'), pairOf('2')];
    const folder = privateFolder();
    writePair(folder, first);
    const setup = await following(folder);
    const { session } = await visitTls(setup.port, 'TLSv1.2');
    replace(folder, 'cert', second);
    await setup.events.until(() => setup.events.refused.length > 0);
    expect(setup.events.refused[0]).toMatchObject({
      key: join(folder, 'key.pem'),
      cert: join(folder, 'cert.pem'),
      error: { name: 'HandoverError', code: 'ERR_HANDOVER_CERTIFICATE' },
    });
    expect(await seenBy(setup)).toBe(fingerprint(first));
    replace(folder, 'key', second);
    await setup.events.uses(second);
    expect((await visitTls(setup.port, 'TLSv1.2', session)).reused).toBe(true);
  });

  it('when a file is gone, cut short or expired', async () => {
    const first = pairOf('1');
    const folder = privateFolder();
    writePair(folder, first);
    const setup = await following(folder);
    const refusedAfter = async (change: () => void): Promise<unknown> => {
      const { length } = setup.events.refused;
      change();
      await setup.events.until(() => setup.events.refused.length > length);
      return (setup.events.refused[length]?.error as { code?: string }).code;
    };
    expect(await refusedAfter(() => rmSync(join(folder, 'key.pem')))).toBe('ENOENT');
    expect(await refusedAfter(() => writeFileSync(join(folder, 'key.pem'), first.key.slice(0, 50)))).toBe(
      'ERR_HANDOVER_CERTIFICATE',
    );
    expect(await refusedAfter(() => writePair(folder, pairBetween('old', 2020, 2021)))).toBe(
      'ERR_HANDOVER_CERTIFICATE',
    );
    expect(await seenBy(setup)).toBe(fingerprint(first));
    const second = pairOf('2');
    writePair(folder, second);
    await setup.events.uses(second);
  });
});

describe('is quiet', () => {
  it('when the files are only touched, and when others change', async () => {
    const first = pairOf('1');
    const folder = privateFolder();
    writePair(folder, first);
    const setup = await following(folder);
    const second = pairOf('2');
    // Twice: with the second look the first has been read to its end.
    for (const time of [1, 2]) {
      const noticed = nextChange(join(folder, 'key.pem'));
      utimesSync(join(folder, 'key.pem'), time, time);
      writePair(folder, first);
      writeFileSync(join(folder, 'unrelated'), `${time}`);
      await noticed;
    }
    writePair(folder, second);
    await setup.events.uses(second);
    expect(setup.events.loaded).toEqual([fingerprint(first), fingerprint(second)]);
  });

  it('after close(), after the server has closed, and after another call for it', async () => {
    const folder = privateFolder();
    const other = privateFolder();
    writePair(folder, pairOf('1'));
    writePair(other, pairOf('2'));
    const watched = watchedDirectories();
    const setup = await following(folder);
    const listeners = setup.server.listenerCount('close');
    const files = { key: join(folder, 'key.pem'), cert: join(folder, 'cert.pem') };
    const again = reloadCertificates(setup.server, { ...files, watch: true });
    // The first is over: as many listen.
    expect(setup.server.listenerCount('close')).toBe(listeners);
    again.close();
    again[Symbol.dispose]();
    expect(setup.server.listenerCount('close')).toBe(listeners - 1);
    const closing = https.createServer();
    reloadCertificates(closing, { ...files, watch: true });
    closing.emit('close');
    expect(watchedDirectories()).toBe(watched);
    const [{ length }, third] = [setup.events.loaded, pairOf('3')];
    using control = reloadCertificates(https.createServer(), { ...files, watch: true });
    writePair(folder, third);
    await setup.events.uses(third);
    expect(control.certificate.fingerprint256).toBe(fingerprint(third));
    // That of the control, at first and now.
    expect(setup.events.loaded).toHaveLength(length + 2);
    expect(setup.events.refused).toEqual([]);
  });

  it('where the first pair is refused nothing is watched, and the error is thrown', () => {
    const folder = privateFolder();
    const files = { key: join(folder, 'key.pem'), cert: join(folder, 'cert.pem') };
    const server = https.createServer();
    const watched = watchedDirectories();
    expect(() => reloadCertificates(server, { ...files, watch: true })).toThrow(/ENOENT/);
    writePair(folder, { key: pairOf('1').key, cert: pairOf('2').cert });
    expect(() => reloadCertificates(server, { ...files, watch: true })).toThrow(/does not belong/);
    expect(server.listenerCount('close')).toBe(0);
    expect(watchedDirectories()).toBe(watched);
  });
});

it('a watch keeps no process alive', async () => {
  const folder = privateFolder();
  writePair(folder, pairOf('1'));
  const program = `
    import https from 'node:https';
    import { reloadCertificates } from 'handover/tls';
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => ${JSON.stringify(folder)} + '/' + name);
    reloadCertificates(https.createServer(), { key, cert, watch: true });
    process.stdout.write('watching');`;
  const root = new URL('../..', import.meta.url);
  const args = ['--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, timeout: 5_000 });
  expect(stdout).toBe('watching');
});

it('G3: sessions outlive a renewal, a handover and another renewal', async () => {
  const folder = privateFolder();
  const pairs = [pairOf('1'), pairOf('2'), pairOf('3')] as const;
  writePair(folder, pairs[0]);
  const site = boot(
    async (inside, folder, tls) => {
      await inside.open({
        probation: { duration: 0 },
        successor: { args: [process.argv[1] as string, `after ${process.pid}`] },
      });
      const { reloadCertificates } = (await inside.load(tls)) as typeof import('../../lib/tls.js');
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      subscribe('handover:certificates', (event) => inside.say('certificates', event));
      inside.say('listening', await inside.listen('https', { name: 'web', port: 0, host: '127.0.0.1' }));
      const server = inside.servers.https as unknown as import('node:tls').Server;
      reloadCertificates(server, { key: `${folder}/key.pem`, cert: `${folder}/cert.pem`, watch: true });
      await inside.handover.ready();
    },
    folder,
    new URL('../../dist/tls.js', import.meta.url).href,
  );
  const { first, generation } = await familyOf(apps, site);
  const { address } = await first.said<{ address: AddressInfo }>('listening');
  const { session } = await visitTls(address.port, 'TLSv1.3');
  writePair(folder, pairs[1]);
  expect(await first.said('certificates', 2)).toMatchObject({ fingerprint256: fingerprint(pairs[1]) });
  await first.upgrade();
  await first.gone();
  const second = await generation(2);
  writePair(folder, pairs[2]);
  expect(await second.said('certificates', 2)).toMatchObject({ fingerprint256: fingerprint(pairs[2]) });
  expect(await visitTls(address.port, 'TLSv1.3', session)).toMatchObject({ pid: second.pid, reused: true });
  expect((await visitTls(address.port, 'TLSv1.3')).fingerprint).toBe(fingerprint(pairs[2]));
  await second.close();
});
