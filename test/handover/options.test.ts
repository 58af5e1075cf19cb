// The options of `openHandover` and `serve`: what is refused, what the defaults are, and what old spellings come to.
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { checkHandoverOptions, type HandoverOptions } from '../../lib/process/options.js';
import { checkServeOptions, type ServeOptions } from '../../lib/serve/serve.js';

const check = (options: object): ReturnType<typeof checkHandoverOptions> =>
  checkHandoverOptions(options as HandoverOptions);
const DEFAULTS = {
  readyTimeout: 60_000,
  drain: { timeout: 30_000, idleTimeout: 0, spread: 5_000 },
  probation: { duration: 1_000, stallTimeout: 2_000 },
  warmup: undefined,
  health: { check: undefined, endpoint: undefined },
  takeover: undefined,
  control: undefined,
  migrate: true,
  pidFile: undefined,
  maxDraining: 2,
  forceOldest: false,
  successor: {},
  preflight: { command: undefined, memory: true },
  allowOrphan: false,
  systemd: {},
  unclaimed: 'fail',
  audit: undefined,
  timeline: undefined,
};

describe('the options of openHandover', () => {
  it('have these defaults', () => {
    expect(check({})).toEqual(DEFAULTS);
    expect(check({ drain: {}, probation: {}, health: {}, preflight: {} })).toEqual(DEFAULTS);
    expect(check({ drain: { timeout: 4_001 } }).drain.spread).toBe(2_000);
  });

  it('are taken as they are given', () => {
    const given = {
      ...DEFAULTS,
      drain: { timeout: 1, idleTimeout: 2, spread: 3 },
      probation: { duration: 0, stallTimeout: 200 },
      health: { check: () => true, endpoint: { port: 9_090, host: '::1' } },
      takeover: { path: '/run/a.sock', allow: () => true },
      migrate: false,
      successor: { args: ['a.js'], env: () => ({}) },
      preflight: { command: ['--check'], memory: false },
      systemd: false,
      unclaimed: ['web'],
      timeline: { directory: 'timeline' },
    };
    expect(check(given)).toEqual(given);
    expect(check({ takeover: '/run/a.sock' }).takeover).toEqual({ path: '/run/a.sock' });
  });

  it.each([
    [{ timeout: 1 }, '"options.timeout" must be absent; the options are readyTimeout, drain, probation,'],
    [{ drain: { timeOut: 1 } }, '"options.drain.timeOut" must be absent; the options are timeout, idleTimeout, spread'],
    [{ drain: 5 }, '"options.drain" must be an object. Received 5'],
    [{ drain: { timeout: -1 } }, '"options.drain.timeout" must be an integer from 0 to 2147483647. Received -1'],
    [{ readyTimeout: 0 }, '"options.readyTimeout" must be an integer from 1 to 2147483647. Received 0'],
    [{ readyTimeout: '1s' }, '"options.readyTimeout" must be an integer from 1 to 2147483647. Received \'1s\''],
    [{ probation: { stallTimeout: 199 } }, '"options.probation.stallTimeout" must be an integer from 200'],
    [{ probation: '1s' }, '"options.probation" must be an object. Received \'1s\''],
    [{ health: { check: true } }, '"options.health.check" must be a function. Received true'],
    [{ health: { endpoint: {} } }, '"options.health.endpoint" must be given with one of port, path. Received {}'],
    [
      { health: { endpoint: { path: 'a', host: 'b' } } },
      '"options.health.endpoint.host" must be absent where there is',
    ],
    [{ health: { endpoint: { port: 65_536 } } }, '"options.health.endpoint.port" must be an integer from 0 to 65535'],
    [{ migrate: 'no' }, '"options.migrate" must be a boolean. Received \'no\''],
    [{ control: '' }, '"options.control" must be a non-empty string. Received \'\''],
    [{ takeover: { allow: () => true } }, '"options.takeover.path" must be a non-empty string. Received undefined'],
    [{ takeover: { path: 'a', allow: 1 } }, '"options.takeover.allow" must be a function. Received 1'],
    [{ successor: { args: 'a.js' } }, '"options.successor.args" must be a list of strings. Received \'a.js\''],
    [{ successor: { env: null } }, '"options.successor.env" must be an object, or a function that returns one'],
    [{ preflight: { command: '--check' } }, '"options.preflight.command" must be a list of strings'],
    [{ preflight: { memory: 0 } }, '"options.preflight.memory" must be a boolean. Received 0'],
    [{ systemd: { fdStore: true } }, '"options.systemd.fdStore" must be absent; the options are fdstore'],
    [{ unclaimed: 'leave' }, "\"options.unclaimed\" must be 'fail', 'close' or a list of names of listeners"],
    [{ timeline: {} }, '"options.timeline.directory" must be a non-empty string. Received undefined'],
    [{ warmup: 1 }, '"options.warmup" must be a function. Received 1'],
    [{ connections: 'keep' }, "\"options.connections\" must be 'move' or 'drain'. Received 'keep'"],
    [{ drainTimeout: '1s' }, '"options.drain.timeout" must be an integer from 0'],
    [
      { drainTimeout: 1, drain: { timeout: 1 } },
      '"options.drainTimeout" must be absent where there is options.drain.timeout',
    ],
    [{ connections: 'move', migrate: true }, '"options.connections" must be absent where there is options.migrate'],
  ])('refuse %j', (options, message) => {
    expect(() => check(options)).toThrow(message);
  });
});

describe('an old spelling', () => {
  const health = (): boolean => true;
  const cases: [object, object][] = [
    [{ drainTimeout: 100 }, { drain: { timeout: 100 } }],
    [{ drainIdleTimeout: 5 }, { drain: { idleTimeout: 5 } }],
    [{ closeSpread: 7 }, { drain: { spread: 7 } }],
    [{ drainTimeout: 100, closeSpread: 7 }, { drain: { timeout: 100, spread: 7 } }],
    [{ drainTimeout: 100, drain: { spread: 7 } }, { drain: { timeout: 100, spread: 7 } }],
    [{ probation: 0 }, { probation: { duration: 0 } }],
    [{ probationStall: 300 }, { probation: { stallTimeout: 300 } }],
    [{ probation: 0, probationStall: 300 }, { probation: { duration: 0, stallTimeout: 300 } }],
    [{ health }, { health: { check: health } }],
    [{ healthEndpoint: { port: 1 } }, { health: { endpoint: { port: 1 } } }],
    [{ health, healthEndpoint: { port: 1 } }, { health: { check: health, endpoint: { port: 1 } } }],
    [{ check: ['-t'] }, { preflight: { command: ['-t'] } }],
    [{ checkMemory: false }, { preflight: { memory: false } }],
    [{ connections: 'drain' }, { migrate: false }],
    [{ connections: 'move' }, { migrate: true }],
  ];

  it.each(cases)('%j is %j', (old, now) => {
    expect(check(old)).toEqual(check(now));
  });

  /** What a process of its own warns of. */
  const warnings = (...options: readonly string[]): unknown => {
    const script = `
      import { checkHandoverOptions } from ${JSON.stringify(new URL('../../dist/process/options.js', import.meta.url))};
      const warnings = [];
      process.on('warning', ({ name, code, message }) => warnings.push({ name, code, message }));
      for (const options of [${options.join(', ')}]) checkHandoverOptions(options);
      setImmediate(() => console.log(JSON.stringify(warnings)));
    `;
    const args = ['--no-warnings', '--input-type=module', '--eval', script];
    return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
  };

  it('warns once in a process, by its name', () => {
    const warned = (old: string, now: string): object => ({
      name: 'DeprecationWarning',
      code: 'HANDOVER_DEPRECATED',
      message: expect.stringContaining(`${old} is spelled ${now} now`),
    });
    expect(warnings('{ drainTimeout: 1, probation: 0 }', '{ drainTimeout: 2 }', '{ health: () => true }')).toEqual([
      warned('drainTimeout', 'drain.timeout'),
      warned('probation as a number', 'probation.duration'),
      warned('health as a function', 'health.check'),
    ]);
  });

  it('is not warned of where it is not used', () => {
    expect(warnings('{ drain: { timeout: 1 }, probation: { duration: 0 }, health: {}, migrate: false }', '{}')).toEqual(
      [],
    );
  });
});

describe('the options of serve', () => {
  const separated = (options: object): object => {
    const { handover, listen } = checkServeOptions(options as ServeOptions);
    return { handover, listen };
  };
  const migrate = { save: () => 1, restore: () => {} };

  it.each([
    [
      { port: 1, drain: { timeout: 2 } },
      { handover: { drain: { timeout: 2 } }, listen: { port: 1 } },
    ],
    [
      { listen: { port: 1 }, drainTimeout: 2 },
      { handover: { drainTimeout: 2 }, listen: { port: 1 } },
    ],
    [
      { path: 'a', migrate: false },
      { handover: { migrate: false }, listen: { path: 'a' } },
    ],
    [
      { path: 'a', migrate },
      { handover: {}, listen: { path: 'a', migrate } },
    ],
    [
      { listen: { path: 'a', migrate }, migrate: true },
      { handover: { migrate: true }, listen: { path: 'a', migrate } },
    ],
  ])('%j: %j', (options, expected) => {
    expect(separated(options)).toEqual(expected);
  });

  it.each([
    [
      { port: 1, sginals: false },
      /"options.sginals" must be absent; the options are setup, signals, log, listen, readyTimeout/,
    ],
    [{ listen: { port: 1 }, port: 2 }, /"options.port" must be in the group listen, which is given. Received 2/],
    [{ port: 1, log: 1 }, /"options.log" must be a boolean or a logger/],
    [{ port: 1, setup: 1 }, /"options.setup" must be a function/],
    [{ port: 1, signals: { upgrade: 'SIGFOO' } }, /"options.signals.upgrade" must be the name of a signal/],
  ])('refuse %j', (options, message) => {
    expect(() => checkServeOptions(options as ServeOptions)).toThrow(message);
  });
});
