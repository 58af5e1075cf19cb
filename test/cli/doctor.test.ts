// The doctor, on machines made of files: what is well, what is not, and what it tells to do about it.

import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chargeFindings } from '../../lib/cli/charge.js';
import type { Finding } from '../../lib/cli/checks.js';
import { CHECKS } from '../../lib/cli/checks.js';
import { Machine } from '../../lib/cli/machine.js';
import { socketFindings } from '../../lib/cli/socket-checks.js';
import { bindListener, closeFd } from '../../lib/fd/index.js';
import type { ListenerStatus, Status } from '../../lib/protocol/control-commands.js';
import { privateFolder, server } from '../engine/engine.js';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { handover, jsonOf } from './command.js';

expectNoLeaks();
const apps = useApps();

const NETSTAT = (overflows: number, drops: number): string =>
  `TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPHPHits\nTcpExt: 0 ${overflows} ${drops} 17\nIpExt: InNoRoutes\nIpExt: 0\n`;

const WELL = {
  'proc/sys/net/core/somaxconn': '4096',
  'proc/sys/net/ipv4/tcp_max_syn_backlog': '2048',
  'proc/sys/net/core/netdev_max_backlog': '1000',
  'proc/sys/net/ipv4/ip_local_port_range': '32768\t60999',
  'proc/sys/net/ipv4/ip_local_reserved_ports': '',
  'proc/sys/net/ipv4/tcp_tw_reuse': '2',
  'proc/sys/net/ipv4/tcp_migrate_req': '0',
  'proc/self/net/netstat': NETSTAT(0, 0),
  'proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units\nMax open files            20000                20000                files\n',
  'proc/self/cgroup': '0::/app\n',
} as const;

function machineOf(files: Readonly<Record<string, string>>, status?: Partial<Status>): Machine {
  const root = privateFolder();
  for (const [name, text] of Object.entries({ ...WELL, ...files })) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return new Machine(root, status as Status | undefined);
}

function examine(machine: Machine): Finding[] {
  return CHECKS.map((check) => check(machine)).filter((finding) => finding !== undefined);
}

const listener = (given: Partial<ListenerStatus>): ListenerStatus => ({
  name: 'web',
  address: 'tcp://*:8080',
  reusePort: false,
  inode: '1',
  ...given,
});

describe('the doctor finds', () => {
  it('nothing on a machine that is well', () => {
    const findings = examine(machineOf({}));
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([]);
    expect(findings.map(({ name, value }) => `${name}: ${value}`)).toEqual([
      'net.core.somaxconn: 4096',
      'net.ipv4.tcp_max_syn_backlog: 2048',
      'net.core.netdev_max_backlog: 1000',
      'net.ipv4.ip_local_port_range: 32768 to 60999',
      'net.ipv4.tcp_tw_reuse: 2',
      'RLIMIT_NOFILE: 20000',
      'net.ipv4.tcp_migrate_req: 0',
      'ListenOverflows: 0',
      'ListenDrops: 0',
      'cgroup memory: no limit',
    ]);
  });

  it('G4: two that are in charge of the same listener, by two arbiters', () => {
    const proc = (pid: number, inode: number, lock: string): Record<string, string> => ({
      [`proc/${pid}/fdinfo/9`]: `pos:\t0\nino:\t${inode}\n${lock}`,
      [`proc/${pid}/fdinfo/8`]: 'pos:\t0\n',
    });
    const locked = (from: number, to: string): string => `lock:\t1: OFDLCK ADVISORY  WRITE -1 00:01:70 ${from} ${to}\n`;
    const machine = machineOf(
      {
        ...proc(11, 70, locked(0, '0')),
        ...proc(12, 70, locked(1, 'EOF')),
        ...proc(13, 70, ''),
        ...proc(14, 71, locked(0, 'EOF')),
      },
      {
        pid: 12,
        listeners: [listener({ inode: '5' })],
        charges: [{ inode: '70', holder: { generation: 2, pid: 12 } }],
      },
    );
    for (const pid of [11, 12, 13, 14]) {
      mkdirSync(machine.path(`proc/${pid}/fd`));
      symlinkSync('/memfd:handover:charge (deleted)', machine.path(`proc/${pid}/fd/9`));
      symlinkSync('socket:[5]', machine.path(`proc/${pid}/fd/8`));
    }
    expect(chargeFindings(machine)).toEqual([
      expect.objectContaining({
        name: 'in charge',
        severity: 'fail',
        value: 'held by pid 12 (generation 2); may take it back: pid 11; no part in it: pid 13',
        fix: 'kill -TERM 14',
      }),
    ]);
  });

  it('nothing to say where the machine tells nothing', () => {
    expect(examine(new Machine(privateFolder(), undefined)).map(({ name }) => name)).toEqual(['cgroup memory']);
  });

  const PID = { pid: 4711, listeners: [] } as const;
  const LIMITED = {
    'proc/4711/cgroup': '0::/app\n',
    'proc/4711/status': 'Name:\tnode\nVmRSS:\t  102400 kB\n',
    'sys/fs/cgroup/app/memory.max': String(300 * 1_048_576),
    'sys/fs/cgroup/app/memory.stat': 'anon 1\ninactive_file 0\n',
  };
  const used = (mebibytes: number): Record<string, string> => ({
    ...LIMITED,
    'sys/fs/cgroup/app/memory.current': String(mebibytes * 1_048_576),
  });
  const fds = Object.fromEntries(Array.from({ length: 95 }, (_, i) => [`proc/4711/fd/${i}`, '']));
  const limits = (soft: number): Record<string, string> => ({
    'proc/4711/limits': `Max open files            ${soft}                 20000                files\n`,
  });

  it.each<[string, Record<string, string>, Partial<Status> | undefined, Partial<Finding> & { severity: string }]>([
    [
      'a short accept queue',
      { 'proc/sys/net/core/somaxconn': '128' },
      undefined,
      {
        name: 'net.core.somaxconn',
        severity: 'warn',
        wrong: '128 is less than 511',
        fix: 'sysctl -w net.core.somaxconn=4096',
      },
    ],
    [
      'an accept queue shorter than a listener asks for',
      {},
      { ...PID, listeners: [listener({ backlogAsked: 5000 })] },
      {
        name: 'net.core.somaxconn',
        severity: 'warn',
        wrong: '4096 is less than 5000',
        fix: 'sysctl -w net.core.somaxconn=8192',
      },
    ],
    [
      'a short queue of SYNs',
      { 'proc/sys/net/ipv4/tcp_max_syn_backlog': '128' },
      undefined,
      { name: 'net.ipv4.tcp_max_syn_backlog', severity: 'warn', fix: 'sysctl -w net.ipv4.tcp_max_syn_backlog=4096' },
    ],
    [
      'a short queue of packets',
      { 'proc/sys/net/core/netdev_max_backlog': '300' },
      undefined,
      { name: 'net.core.netdev_max_backlog', severity: 'warn', wrong: '300 is less than 1000' },
    ],
    [
      'few ports',
      { 'proc/sys/net/ipv4/ip_local_port_range': '60000 60999' },
      undefined,
      { name: 'net.ipv4.ip_local_port_range', severity: 'warn', wrong: 'only 1000 ports' },
    ],
    [
      'a listener among the ports the kernel gives out',
      { 'proc/sys/net/ipv4/ip_local_reserved_ports': '40000-40010' },
      {
        ...PID,
        listeners: [listener({ address: 'tcp://*:40000' }), listener({ address: 'tcp://[::1]:50000?ipv6Only' })],
      },
      {
        name: 'net.ipv4.ip_local_port_range',
        severity: 'warn',
        wrong: 'the listener on port 50000 is inside the range',
        fix: 'sysctl -w net.ipv4.ip_local_reserved_ports=50000',
      },
    ],
    [
      'ports that stay in TIME_WAIT',
      { 'proc/sys/net/ipv4/tcp_tw_reuse': '0' },
      undefined,
      { name: 'net.ipv4.tcp_tw_reuse', severity: 'warn', fix: 'sysctl -w net.ipv4.tcp_tw_reuse=1' },
    ],
    ['a low limit of files', limits(1024), PID, { name: 'RLIMIT_NOFILE', severity: 'warn', value: '1024' }],
    [
      'a table of descriptors that is nearly full',
      { ...limits(100), ...fds },
      PID,
      { name: 'RLIMIT_NOFILE', severity: 'fail', value: '95 of 100 open', wrong: 'the table is nearly full' },
    ],
    [
      'a listener with reusePort whose queue is lost with it',
      {},
      { ...PID, listeners: [listener({ reusePort: true })] },
      { name: 'net.ipv4.tcp_migrate_req', severity: 'warn', fix: 'sysctl -w net.ipv4.tcp_migrate_req=1' },
    ],
    [
      'accept queues that were full',
      { 'proc/self/net/netstat': NETSTAT(12, 0) },
      undefined,
      { name: 'ListenOverflows', severity: 'warn', value: '12', fix: 'nstat -az TcpExtListenOverflows' },
    ],
    [
      'connections that were dropped',
      { 'proc/self/net/netstat': NETSTAT(0, 3) },
      undefined,
      { name: 'ListenDrops', severity: 'warn', value: '3' },
    ],
    ['no memory for two', used(250), PID, { name: 'cgroup memory', severity: 'fail', value: '50 MiB left' }],
    ['hardly any memory for two', used(180), PID, { name: 'cgroup memory', severity: 'warn', value: '120 MiB left' }],
  ])('%s', (_, files, status, expected) => {
    const bad = examine(machineOf(files, status)).filter(({ severity }) => severity !== 'ok');
    expect(bad).toEqual([expect.objectContaining(expected)]);
    expect(bad[0]).toMatchObject({ wrong: expect.any(String), why: expect.any(String), fix: expect.any(String) });
  });

  it('sockets others may connect to, that others can replace, and that are gone', () => {
    const machine = machineOf({});
    const control = join(machine.root, 'control.sock');
    closeFd(bindListener({ path: control, mode: 0o600 }));
    const find = (): Finding[] => socketFindings(machine, control);
    expect(find()).toEqual([{ name: 'control socket', severity: 'ok', value: `${control} 0600` }]);
    chmodSync(control, 0o666);
    expect(find()).toEqual([
      expect.objectContaining({ severity: 'fail', wrong: 'other users may connect', fix: `chmod 0600 ${control}` }),
    ]);
    chmodSync(machine.root, 0o777);
    expect(find()).toEqual([
      expect.objectContaining({ severity: 'fail', wrong: expect.stringContaining('can be written to by other users') }),
    ]);
    chmodSync(machine.root, 0o700);
    const takeover = new Machine(machine.root, { takeover: '/gone.sock' } as Status);
    expect(socketFindings(takeover, undefined)).toEqual([
      expect.objectContaining({ name: 'takeover socket', severity: 'fail', wrong: 'the file is gone' }),
    ]);
  });
});

describe('the command', () => {
  it('looks at this machine without a process, and says so', async () => {
    const ended = await handover(['doctor', '--json']);
    const [{ ok, findings }] = jsonOf(ended) as unknown as [{ ok: boolean; findings: Finding[] }];
    expect(ended.code).toBe(ok ? 0 : 1);
    expect(findings[0]).toMatchObject({ name: 'process', severity: 'warn', value: 'none' });
    expect(findings.map(({ name }) => name)).toContain('RLIMIT_NOFILE');
  });

  it('looks at the process, and ends with 1 where its socket is open to others', async () => {
    const folder = privateFolder();
    const control = join(folder, 'control.sock');
    const { first } = await apps.chain(server({ options: { control } }));
    const ended = await handover(['doctor', '--control', control, '--json']);
    const [{ findings }] = jsonOf(ended) as unknown as [{ findings: Finding[] }];
    expect(findings[0]).toMatchObject({ severity: 'ok', value: `generation 1, pid ${first.pid}, serving` });
    expect(findings.at(-1)).toEqual({ name: 'control socket', severity: 'ok', value: `${control} 0600` });
    expect(findings.find(({ name }) => name === 'RLIMIT_NOFILE')?.value).toMatch(/^\d+ of \d+ open$/);
    chmodSync(control, 0o660);
    const { code, stdout } = await handover(['doctor', '--control', control]);
    expect(code).toBe(1);
    expect(stdout).toContain(`fail  control socket: ${control} 0660\n      other users may connect\n`);
    expect(stdout).toContain(`fix: chmod 0600 ${control}\n`);
    expect(stdout).toMatch(/\n\d+ ok, \d+ to look at, 1 failed\n$/);
    await first.close();
  });

  it('reads another root', async () => {
    const { root } = machineOf({ 'proc/sys/net/core/somaxconn': '5' });
    const { code, stdout } = await handover(['doctor', '--root', root]);
    expect(code).toBe(0);
    expect(stdout).toContain('warn  net.core.somaxconn: 5\n      5 is less than 511\n');
  });
});
