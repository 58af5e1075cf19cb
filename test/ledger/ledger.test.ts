// The ledger: claimed by name and address, bound otherwise, closed when nobody claims it; never a path that is not its.
import { existsSync, lstatSync, readSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Endpoint, ListenAddress } from '../../lib/endpoints/endpoint.js';
import { toEndpoint } from '../../lib/endpoints/kinds.js';
import { fileIdentity, removeIfSame, removeIfStale } from '../../lib/endpoints/unix.js';
import { connectsTo } from '../../lib/fd/dial.js';
import { bindListener, closeFd, describeFd, dupFd, recvFds, sealedBlob, sendFds } from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import type { ManifestEntry } from '../../lib/protocol/frames.js';
import { type Entry, Ledger } from '../../lib/resources/ledger.js';
import {
  byte,
  close,
  disown,
  errno,
  inode,
  isAtEnd,
  onLinux,
  own,
  pair,
  temporaryFolder,
  thrownBy,
  typeRefusal,
} from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

function ledger(): Ledger {
  const created = new Ledger();
  onTestFinished(() => created.close({ removePaths: true }));
  return created;
}

function tcp(address: ListenAddress): Endpoint {
  return toEndpoint(address);
}

/** Hands everything over as a handover does: through a socket, so that the successor has copies of its own. */
function succeed(predecessor: Ledger): Ledger {
  const { entries, fds } = predecessor.manifest();
  const [a, b] = pair();
  sendFds(a, byte, fds);
  const successor = ledger();
  successor.inherit(entries, recvFds(b).fds);
  close(a);
  close(b);
  return successor;
}

/** A ledger that inherited these descriptors, which are its own now. */
function heir(...inherited: readonly (ManifestEntry & { fd: number })[]): Ledger {
  const successor = ledger();
  const entries = inherited.map(({ fd: _, ...entry }) => entry);
  successor.inherit(
    entries,
    Int32Array.from(inherited, ({ fd }) => disown(fd)),
  );
  return successor;
}

const portOf = (fd: number): number => (describeFd(fd).socket?.local as AddressInfo).port;
const any: Endpoint = tcp({ port: 0, host: '127.0.0.1' });

describe('claiming', () => {
  test('a listener of the same name and address is claimed: the same socket', () => {
    const old = ledger();
    const bound = old.listener('web', any);
    expect(bound).toMatchObject({ name: 'web', kind: 'tcp', address: 'tcp://127.0.0.1:0', origin: 'bound' });
    const young = succeed(old);
    const claimed = young.listener('web', any);
    expect(claimed.origin).toBe('inherited');
    expect(inode(claimed.fd)).toBe(inode(bound.fd));
    expect(young.report()).toEqual({ claimed: ['web'], unclaimed: [] });
    expect(young.get('web')).toBe(claimed);
  });

  test('port 0 is claimed again: the successor keeps the port the kernel chose', () => {
    const old = ledger();
    const { fd } = old.listener('web', any);
    expect(portOf(succeed(old).listener('web', any).fd)).toBe(portOf(fd));
  });

  test('through three generations', () => {
    const first = ledger();
    const { fd } = first.listener('web', any);
    const second = succeed(first);
    second.listener('web', any);
    const third = succeed(second);
    first.close({ removePaths: false });
    second.close({ removePaths: false });
    expect(third.listener('web', any)).toMatchObject({ origin: 'inherited' });
    expect(() => describeFd(fd)).toThrow('EBADF');
  });

  test('another name binds', () => {
    const young = succeed(withListener('web', any));
    expect(young.listener('api', any).origin).toBe('bound');
    expect(young.report()).toEqual({ claimed: [], unclaimed: ['web'] });
  });

  test.each<[string, ListenAddress]>([
    ['another host', { port: 0, host: '127.0.0.2' }],
    ['another family', { port: 0, host: '::1' }],
    ['another kind', { path: 'x.sock' }],
  ])('%s under the same name is a new bind, and the inherited one stays unclaimed', (_, address) => {
    const path = address.path && join(temporaryFolder(), address.path);
    const young = succeed(withListener('web', any));
    expect(young.listener('web', tcp(path ? { path } : address)).origin).toBe('bound');
    expect(young.report()).toEqual({ claimed: [], unclaimed: ['web'] });
  });

  test('a UDP socket is no TCP listener, though name and place are the same', () => {
    const young = succeed(withListener('dns', toEndpoint({ port: 0, host: '127.0.0.1' }, 'datagram')));
    expect(young.listener('dns', any)).toMatchObject({ kind: 'tcp', origin: 'bound' });
  });

  test('UDP is claimed as TCP is', () => {
    const endpoint = toEndpoint({ port: 0, host: '127.0.0.1' }, 'datagram');
    const old = withListener('dns', endpoint);
    expect(portOf(succeed(old).listener('dns', endpoint).fd)).toBe(portOf(old.get('dns')?.fd ?? -1));
  });

  test('two listeners on one address are kept apart by name', () => {
    const old = ledger();
    const first = old.listener('a', tcp({ port: 0, host: '127.0.0.1', reusePort: true }));
    const endpoint = tcp({ port: portOf(first.fd), host: '127.0.0.1', reusePort: true });
    const one = old.listener('one', endpoint);
    const two = old.listener('two', endpoint);
    const young = succeed(old);
    expect(inode(young.listener('two', endpoint).fd)).toBe(inode(two.fd));
    expect(inode(young.listener('one', endpoint).fd)).toBe(inode(one.fd));
  });

  test.runIf(onLinux)('an abstract name', () => {
    const endpoint = tcp({ abstract: `handover-ledger-${process.pid}` });
    const old = withListener('ctl', endpoint);
    const young = succeed(old);
    expect(young.listener('ctl', endpoint)).toMatchObject({ kind: 'abstract', origin: 'inherited' });
    old.close({ removePaths: true });
    expect(connectsTo(`\0handover-ledger-${process.pid}`)).toBe(0);
  });

  test('a name is taken once', () => {
    const one = withListener('web', any);
    const expected = typeRefusal(
      `"name" must be not in use by another listener or value of this process. Received 'web'`,
    );
    expect(thrownBy(() => one.listener('web', any))).toEqual(expected);
    expect(one.claim('web')).toBeUndefined();
    const fd = own(dupFd(2));
    expect(thrownBy(() => one.keep('web', 'descriptor', fd))).toEqual(expected);
    expect(describeFd(fd).fd).toBe(fd);
  });
});

describe('what nobody claims', () => {
  test('is closed', () => {
    const [passed, other] = pair();
    const young = heir({ name: 'left', kind: 'descriptor', address: '', fd: passed });
    expect(isAtEnd(other)).toBe(false);
    young.closeUnclaimed();
    expect(isAtEnd(other)).toBe(true);
    expect(young.claim('left')).toBeUndefined();
  });

  test('is reported where it is a listener, and closed', () => {
    const young = succeed(withListener('web', any));
    expect(young.report()).toEqual({ claimed: [], unclaimed: ['web'] });
    young.closeUnclaimedListeners();
    expect(young.report()).toEqual({ claimed: [], unclaimed: [] });
  });

  test('is not handed on', () => {
    const young = succeed(withListener('web', any));
    expect(young.manifest()).toEqual({ entries: [], fds: new Int32Array(0) });
  });

  test('of two with one name the later counts, the former is closed', () => {
    const [first, otherOfFirst] = pair();
    const [second] = pair();
    const { ino } = { ino: inode(second) };
    const entry = { name: 'x', kind: 'descriptor', address: '' } as const;
    const young = heir({ ...entry, fd: first }, { ...entry, fd: second });
    expect(isAtEnd(otherOfFirst)).toBe(true);
    expect(inode((young.claim('x') as Entry).fd)).toBe(ino);
  });
});

describe('blobs and descriptors', () => {
  test('a blob passes, sealed', () => {
    const old = ledger();
    old.keep('state', 'blob', sealedBlob('state', Buffer.from('all of it')));
    const young = succeed(old);
    const { fd, kind } = young.claim('state') as Entry;
    const into = Buffer.alloc(20);
    expect([kind, into.toString('utf8', 0, readSync(fd, into, 0, 20, 0))]).toEqual(['blob', 'all of it']);
  });

  test('a descriptor passes; one that did not come is undefined', () => {
    const [passed] = pair();
    const young = heir({ name: 'log', kind: 'descriptor', address: '', fd: passed });
    expect(young.claim('other')).toBeUndefined();
    expect(young.claim('log')).toMatchObject({ fd: passed, origin: 'inherited' });
    expect(young.claim('nothing')).toBeUndefined();
  });

  test('what is kept is in the manifest, each descriptor at the index of its entry', () => {
    const one = withListener('web', any);
    const [fd] = pair();
    one.keep('log', 'descriptor', disown(fd));
    const { entries, fds } = one.manifest();
    expect(entries.map(({ name, kind }) => [name, kind])).toEqual([
      ['web', 'tcp'],
      ['log', 'descriptor'],
    ]);
    expect([...fds]).toEqual([one.get('web')?.fd, fd]);
  });
});

describe('a descriptor that is no listener is refused where it is claimed, and closed with the unclaimed', () => {
  const entry = { name: 'web', kind: 'tcp', address: any.canonical } as const;
  const expected = {
    class: 'HandoverError',
    code: 'ERR_HANDOVER_PROTOCOL',
    message: 'the descriptor handed over as "web" is no tcp listener',
  };

  test.each<[string, () => number]>([
    ['a connection', () => pair()[0]],
    ['a bound socket that does not listen', () => own(bindListener({ protocol: 'udp', port: 0, host: '127.0.0.1' }))],
    ['a blob', () => own(sealedBlob('x', byte))],
  ])('%s', (_, make) => {
    const fd = make();
    const young = heir({ ...entry, fd });
    expect(thrownBy(() => young.listener('web', any))).toMatchObject(expected);
    young.closeUnclaimed();
    expect(() => describeFd(fd)).toThrow('EBADF');
  });

  test('a TCP listener is no UDP socket', () => {
    const endpoint = toEndpoint({ port: 0, host: '127.0.0.1' }, 'datagram');
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const young = heir({ name: 'dns', kind: 'udp', address: endpoint.canonical, fd });
    expect(thrownBy(() => young.listener('dns', endpoint))).toMatchObject({
      message: 'the descriptor handed over as "dns" is no udp listener',
    });
  });
});

describe('an address in use', () => {
  test('without a predecessor it is the system’s error', () => {
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const port = portOf(fd);
    expect(thrownBy(() => ledger().listener('web', tcp({ port, host: '127.0.0.1' })))).toMatchObject({
      class: 'Error',
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: '127.0.0.1',
      port,
    });
  });

  test('with one that did not hand it over, ERR_HANDOVER_ADDRESS_IN_USE names the address and handover.listen()', () => {
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const port = portOf(fd);
    const error = thrownBy(() => heir().listener('web', tcp({ port, host: '127.0.0.1' })));
    expect(error).toMatchObject({
      class: 'HandoverError',
      code: 'ERR_HANDOVER_ADDRESS_IN_USE',
      message:
        `cannot bind tcp://127.0.0.1:${port} for "web": the predecessor or a stranger holds it, ` +
        'and it was not handed over: let the predecessor open it with handover.listen() too',
      phase: 'PREPARE',
      stillServing: true,
    });
  });

  test('with one that handed it over under another name, that name is told', () => {
    const endpoint = tcp({ port: portOf(own(bindListener({ port: 0, host: '127.0.0.1' }))), host: '127.0.0.1' });
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const young = heir({ name: 'http', kind: 'tcp', address: endpoint.canonical, fd });
    expect(thrownBy(() => young.listener('web', endpoint))).toMatchObject({
      code: 'ERR_HANDOVER_ADDRESS_IN_USE',
      message: `cannot bind ${endpoint.canonical} for "web": the predecessor handed it over under the name "http": use that name`,
    });
  });
});

describe('Unix paths', () => {
  const socketPath = (): string => join(temporaryFolder(), 'x.sock');

  /** A path whose listener died without removing it. */
  function stale(path: string): void {
    closeFd(bindListener({ path }));
  }

  test('a stale path is replaced', () => {
    const path = socketPath();
    stale(path);
    const before = fileIdentity(path);
    const { fd, file } = ledger().listener('web', tcp({ path }));
    expect(describeFd(fd).socket?.listening).toBe(true);
    expect(file).toBe(fileIdentity(path));
    expect(connectsTo(path)).toBe(0);
    expect(before).toBeDefined();
  });

  test('a living listener is never replaced', () => {
    const path = socketPath();
    own(bindListener({ path }));
    const { ino } = statSync(path);
    expect(thrownBy(() => ledger().listener('web', tcp({ path })))).toMatchObject({ code: 'EADDRINUSE', path });
    expect(statSync(path).ino).toBe(ino);
  });

  test('a listener whose queue is full counts as alive', () => {
    const path = socketPath();
    own(bindListener({ path, backlog: 0 }));
    const { AF_UNIX, SOCK_STREAM } = native().constants;
    let result = 0;
    while (result === 0) {
      const client = own(native().socket(AF_UNIX, SOCK_STREAM, 0));
      native().setNonblocking(client, true);
      result = native().connectUnix(client, Buffer.from(path));
    }
    expect(result).toBe(onLinux ? errno('EAGAIN') : errno('ECONNREFUSED'));
    if (!onLinux) return;
    expect(removeIfStale(path)).toBe(false);
    expect(existsSync(path)).toBe(true);
  });

  test('what is no socket is never removed', () => {
    const path = socketPath();
    writeFileSync(path, 'precious');
    expect(thrownBy(() => ledger().listener('web', tcp({ path })))).toMatchObject({ code: 'EADDRINUSE' });
    const link = join(temporaryFolder(), 'link');
    const target = socketPath();
    stale(target);
    symlinkSync(target, link);
    expect(removeIfStale(link)).toBe(false);
    expect([existsSync(path), lstatSync(link).isSymbolicLink(), existsSync(target)]).toEqual([true, true, true]);
    expect(removeIfStale(join(temporaryFolder(), 'none'))).toBe(false);
  });

  test('release and close remove the path they bound', () => {
    const [one, two] = [socketPath(), socketPath()];
    const one_ = ledger();
    one_.listener('one', tcp({ path: one }));
    one_.listener('two', tcp({ path: two }));
    one_.release('one');
    expect([existsSync(one), existsSync(two), one_.get('one')]).toEqual([false, true, undefined]);
    one_.release('one');
    one_.close({ removePaths: true });
    expect(existsSync(two)).toBe(false);
  });

  test('G5: until it is said what is claimed, what is closed can be claimed again, and its path stays', () => {
    const path = socketPath();
    const old = withListener('web', tcp({ path }));
    const young = succeed(old);
    young.listener('web', tcp({ path }));
    young.release('web');
    expect(young.report()).toEqual({ claimed: [], unclaimed: ['web'] });
    expect(connectsTo(path)).toBe(0);
    expect(young.listener('web', tcp({ path })).origin).toBe('inherited');
    young.closeUnclaimedListeners();
    young.release('web');
    expect([young.report(), existsSync(path)]).toEqual([{ claimed: [], unclaimed: [] }, false]);
    old.close({ removePaths: false });
  });

  test('a predecessor that retires leaves the path to its successor, which removes it at its own end', () => {
    const path = socketPath();
    const old = withListener('web', tcp({ path }));
    const young = succeed(old);
    young.listener('web', tcp({ path }));
    old.close({ removePaths: false });
    expect(connectsTo(path)).toBe(0);
    young.close({ removePaths: true });
    expect(existsSync(path)).toBe(false);
  });

  test('a path that is another file by now is not removed', () => {
    const path = socketPath();
    const old = withListener('web', tcp({ path }));
    unlinkSync(path);
    const stranger = own(bindListener({ path }));
    old.close({ removePaths: true });
    expect(connectsTo(path)).toBe(0);
    expect(describeFd(stranger).socket?.listening).toBe(true);
    expect(removeIfSame(path, '0:0')).toBe(false);
  });

  test('G6: what nobody claimed loses its path once the predecessor is gone; one of somebody else stays', () => {
    const [own_, taken, passed] = [socketPath(), socketPath(), socketPath()];
    const old = ledger();
    for (const [name, path] of [
      ['own', own_],
      ['taken', taken],
    ] as const)
      old.listener(name, tcp({ path }));
    // A supervisor has bound it: it says of no file that it is this package's.
    const lent = bindListener({ path: passed });
    old.activate([{ fd: lent, name: 'passed', kind: 'unix', source: 'LISTEN_FDS' }]);
    old.listener('passed', tcp({ path: passed }));
    const young = succeed(old);
    old.close({ removePaths: false });
    unlinkSync(taken);
    const stranger = own(bindListener({ path: taken }));
    young.closeUnclaimedListeners();
    expect([own_, taken, passed].map((path) => existsSync(path))).toEqual([true, true, true]);
    young.closeUnclaimed();
    expect([own_, taken, passed].map((path) => existsSync(path))).toEqual([false, true, true]);
    expect([connectsTo(taken), describeFd(stranger).socket?.listening]).toEqual([0, true]);
  });

  test('G5: a successor that gives up removes no path of the one that serves, claimed or not', () => {
    const [claimed, left] = [socketPath(), socketPath()];
    const old = ledger();
    old.listener('claimed', tcp({ path: claimed }));
    old.listener('left', tcp({ path: left }));
    const young = succeed(old);
    young.listener('claimed', tcp({ path: claimed }));
    young.closeUnclaimedListeners();
    young.close({ removePaths: false });
    expect([connectsTo(claimed), connectsTo(left)]).toEqual([0, 0]);
    old.close({ removePaths: true });
    expect([existsSync(claimed), existsSync(left)]).toEqual([false, false]);
  });

  test('what was inherited and not claimed keeps its path: it may be the predecessor’s still', () => {
    const path = socketPath();
    const old = withListener('web', tcp({ path }));
    succeed(old).close({ removePaths: true });
    expect(connectsTo(path)).toBe(0);
  });
});

describe('G9: a kind of listener that only a newer release knows', () => {
  const vsock = (name: string): ManifestEntry & { fd: number } => ({
    name,
    kind: 'vsock',
    address: 'vsock://2:1024',
    fd: own(bindListener({ port: 0, host: '127.0.0.1' })),
  });

  test('is closed at once and unclaimed; everything else waits to be claimed', () => {
    const unknown = vsock('vm');
    const web = {
      name: 'web',
      kind: 'tcp',
      address: any.canonical,
      fd: own(bindListener({ port: 0, host: '127.0.0.1' })),
    };
    const [blob, other] = [own(sealedBlob('state', byte)), own(dupFd(2))];
    const young = heir(
      web,
      unknown,
      { name: 'state', kind: 'blob', address: '', fd: blob },
      { name: 'log', kind: 'descriptor', address: '', fd: other },
    );
    expect(thrownBy(() => describeFd(unknown.fd))).toMatchObject({ code: 'EBADF' });
    expect(young.listener('web', any)).toMatchObject({ origin: 'inherited', fd: web.fd });
    expect([young.claim('state')?.fd, young.claim('log')?.fd]).toEqual([blob, other]);
    expect(young.report()).toEqual({ claimed: ['web', 'state', 'log'], unclaimed: ['vm'] });
    expect([young.unclaimedListeners, young.unknown]).toEqual([[], ['vm']]);
    expect(young.manifest().entries.map(({ name }) => name)).toEqual(['web', 'state', 'log']);
  });

  test('replaces what came under its name before, once however often it comes', () => {
    const before = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const young = heir({ name: 'vm', kind: 'tcp', address: any.canonical, fd: before }, vsock('vm'), vsock('vm'));
    expect(thrownBy(() => describeFd(before))).toMatchObject({ code: 'EBADF' });
    expect(young.report()).toEqual({ claimed: [], unclaimed: ['vm'] });
    expect(young.listener('vm', any).origin).toBe('bound');
  });

  test("is closed and not reported where the name is one of the library's own", () => {
    const unknown = vsock('handover:future');
    expect(heir(unknown).report()).toEqual({ claimed: [], unclaimed: [] });
    expect(thrownBy(() => describeFd(unknown.fd))).toMatchObject({ code: 'EBADF' });
  });
});

test('a failure to bind leaves no entry behind', () => {
  const one = ledger();
  const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
  const endpoint = tcp({ port: portOf(fd), host: '127.0.0.1' });
  expect(() => one.listener('web', endpoint)).toThrow('EADDRINUSE');
  expect(one.manifest().entries).toEqual([]);
  close(fd);
  expect(one.listener('web', endpoint).origin).toBe('bound');
});

/** A predecessor with one listener. */
function withListener(name: string, endpoint: Endpoint): Ledger {
  const created = ledger();
  created.listener(name, endpoint);
  return created;
}
