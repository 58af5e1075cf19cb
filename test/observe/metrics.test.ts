// What a scraper sees through handovers: real scrapes of prom-client's text, by new connections and by one kept alive.
import { Agent, request } from 'node:http';
import net from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { publish } from '../../lib/events.js';
import { count, encodeState, type MetricState, NOTHING_COUNTED, newer } from '../../lib/observe/metric-state.js';
import { registerMetrics } from '../../lib/observe/metrics.js';
import { type App, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();
const { chain } = useApps();

/** A server of its own metrics. */
const metered = (options: object = {}) =>
  boot(async (inside, options) => {
    const { register } = (await inside.load('prom-client')) as typeof import('prom-client');
    const { registerMetrics } = (await inside.load('handover/metrics')) as typeof import('../../lib/metrics.js');
    const { createServer } = process.getBuiltinModule('node:http');
    const handover = await inside.open({ probation: { duration: 100 }, ...options });
    registerMetrics(handover, register);
    const server = createServer(async (_, response) => {
      response.setHeader('x-pid', process.pid).end(await register.metrics());
    });
    const { address } = await handover.listen(server, { name: 'web', port: 0, host: '127.0.0.1', backlog: 7 });
    inside.say('port', (address as import('node:net').AddressInfo).port);
    await handover.ready();
  }, options);

/** The samples of a scrape, by name and labels. */
type Scrape = ReadonlyMap<string, number>;

interface Answer {
  readonly pid: number;
  readonly text: string;
  readonly samples: Scrape;
}

function scrape(port: number, agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', agent: agent ?? false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('end', () => resolve({ pid: Number(response.headers['x-pid']), text, samples: parse(text) }));
    });
    sent.once('error', reject).end();
  });
}

function parse(text: string): Scrape {
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

/** Which families count, and so never go down. */
function counting(text: string): RegExp {
  const names = [...text.matchAll(/^# TYPE (\S+) (counter|histogram)$/gm)].map(([, name]) => name);
  return new RegExp(`^(${names.join('|')})`);
}

/** Whether a process is about to be killed: what it owns is reset, and nobody can help that. */
const killing = { now: false };

/** Scrapes one after the other until it is ended, then says what it saw. */
function scraper(port: number, agent?: Agent): () => Promise<Answer[]> {
  const seen: Answer[] = [];
  let isOver = false;
  const attempt = async (): Promise<void> => {
    try {
      seen.push(await scrape(port, agent));
    } catch (error) {
      if (!killing.now) throw error;
    }
  };
  const running = (async () => {
    while (!isOver) await attempt();
  })();
  // It is looked at when all is over.
  running.catch(() => {});
  return async () => {
    isOver = true;
    await running;
    return seen;
  };
}

function expectMonotonic(answers: readonly Answer[]): void {
  const last = new Map<string, number>();
  for (const { pid, text, samples } of answers) {
    const counts = counting(text);
    for (const [series, value] of samples) {
      if (!counts.test(series)) continue;
      expect(value, `${series} of ${pid}`).toBeGreaterThanOrEqual(last.get(series) ?? 0);
      last.set(series, value);
    }
  }
}

const completed = 'handover_handovers_total{result="completed",code=""}';
const failed = (code: string) => `handover_handovers_total{result="failed",code="${code}"}`;

it('G8: counters go on through three handovers, a failure, a refusal and a recall; no scraper sees one go down', async () => {
  // Of seven processes the third dies as it starts, and the fourth is killed when it is in charge.
  const dying = boot(() => process.exit(3));
  const { chain: processes, first } = await chain([metered(), metered(), dying, metered(), metered()]);
  const port = await first.said<number>('port');
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ends = [scraper(port), scraper(port, agent)];

  const upgrade = async (app: App, next: number): Promise<App> => {
    // A second one meanwhile is refused, and counted when the first is over: both processes answer until then.
    const codes = await app.run(async ({ handover }) => {
      const { subscribe, unsubscribe } = process.getBuiltinModule('node:diagnostics_channel');
      const probation = new Promise<void>((resolve) => {
        const listener = (event: unknown): void => {
          if ((event as { phase: string }).phase !== 'PROBATION') return;
          unsubscribe('handover:phase', listener);
          resolve();
        };
        subscribe('handover:phase', listener);
      });
      const upgrading = handover.upgrade();
      await probation;
      const refused = await handover.upgrade().catch(({ code }) => code);
      await upgrading;
      return refused;
    });
    expect(codes).toBe('ERR_HANDOVER_IN_PROGRESS');
    await app.gone();
    return processes.generation(next);
  };
  const second = await upgrade(first, 2);
  await second.upgrade().catch(() => {});

  // Superseded and recalled: its own connection keeps it from ending.
  const idle = net.connect(port, '127.0.0.1');
  idle.on('error', () => {});
  await second.run(async ({ handover }) => {
    handover.waitUntil(
      new Promise((resolve) => handover.closing.addEventListener('abort', () => setTimeout(resolve, 400))),
    );
    await handover.upgrade();
  });
  const doomed = await processes.generation(4);
  killing.now = true;
  doomed.process.signal('SIGKILL');
  await second.said('handover:in-charge', 2);
  // Both have seen that it serves again.
  for (let i = 0; i < 2; i++) expect((await scrape(port)).pid).toBe(second.pid);
  killing.now = false;
  idle.destroy();

  const fifth = await upgrade(second, 5);
  const sixth = await upgrade(fifth, 6);
  // The last RETIRE may still be on its way.
  const settled = async (): Promise<Answer> => {
    for (;;) {
      const answer = await scrape(port);
      if ((answer.samples.get(completed) ?? 0) >= 3) return answer;
    }
  };
  const { samples, text, pid } = await settled();
  const answers = await Promise.all(ends.map((end) => end()));
  agent.destroy();
  expect(pid).toBe(sixth.pid);
  for (const seen of answers) expectMonotonic(seen);
  // Each scraper met every process that served.
  for (const seen of answers) {
    expect(new Set(seen.map((answer) => answer.pid))).toEqual(
      new Set([first.pid, second.pid, fifth.pid, sixth.pid, ...seen.map((answer) => answer.pid)]),
    );
  }

  expect(samples.get(completed)).toBe(3);
  expect(samples.get(failed('ERR_HANDOVER_IN_PROGRESS'))).toBe(3);
  expect(samples.get(failed('ERR_HANDOVER_SUCCESSOR_EXITED'))).toBe(1);
  expect(samples.get('handover_handovers_total{result="recalled",code="ERR_HANDOVER_SUCCESSOR_EXITED"}')).toBe(1);
  expect(samples.get('handover_handovers_total{result="discarded",code=""}')).toBe(0);
  // Three that went through all of it, and the one that was recalled.
  expect(samples.get('handover_phase_duration_seconds_count{phase="COMMIT"}')).toBe(4);
  expect(samples.get('handover_phase_duration_seconds_bucket{le="+Inf",phase="COMMIT"}')).toBe(4);
  // Going on while RETIRE tells of it.
  expect(samples.get('handover_phase_duration_seconds_count{phase="DRAIN"}')).toBeGreaterThanOrEqual(3);
  expect(samples.get('handover_phase_duration_seconds_sum{phase="PROBATION"}')).toBeGreaterThan(0.3);
  expect(samples.get('handover_connections_total{result="migrated"}')).toBeGreaterThanOrEqual(3);
  expect(samples.get('handover_connections_total{result="cut"}')).toBe(0);
  expect(samples.get('handover_generation')).toBe(4);
  expect(samples.get('handover_state{state="serving"}')).toBe(1);
  expect(samples.get('handover_in_progress')).toBe(0);
  for (const line of text.split('\n')) expect(line.split('="').length - 1).toBeLessThanOrEqual(7);
  await sixth.close();
});

it('G8: gauges of what is there now: queues, unclaimed descriptors, connections by generation, certificates', async () => {
  const { chain: processes, first } = await chain([
    boot(async (inside) => {
      await inside.open({ probation: { duration: 0 }, migrate: false });
      for (const name of ['gone', 'web']) {
        const { address } = await inside.listen('http', { name, port: 0, host: '127.0.0.1' });
        inside.kept.port = (address as import('node:net').AddressInfo).port;
      }
      inside.say('port', inside.kept.port);
      await inside.handover.ready();
    }),
    metered({ probation: { duration: 0 }, unclaimed: 'close' }),
  ]);
  const port = await first.said<number>('port');
  // Half a request, so that the old one has something to drain.
  const waiting = net.connect(port, '127.0.0.1');
  waiting.on('error', () => {});
  waiting.write('GET / HTTP/1.1\r\n');
  await first.run(
    ({ servers }) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          (servers.http as unknown as net.Server).getConnections((_, count) =>
            count > 0 ? resolve() : void setImmediate(look),
          );
        };
        look();
      }),
  );
  await first.upgrade();
  const second = await processes.generation(2);
  const answer = await untilScraped(async () => {
    const seen = await scrape(port);
    const drains = seen.samples.get('handover_open_connections{state="draining",generation="previous"}');
    return drains === 1 ? seen : undefined;
  });
  const { samples } = answer;
  expect(samples.get('handover_unclaimed_descriptors')).toBe(1);
  expect(samples.get('handover_accept_queue_depth{listener="web"}')).toBe(0);
  expect(samples.get('handover_accept_queue_limit{listener="web"}')).toBe(7);
  expect(samples.get('handover_open_connections{state="serving",generation="current"}')).toBe(1);
  expect(samples.get('handover_open_connections{state="draining",generation="older"}')).toBe(0);
  expect(samples.get('handover_generation')).toBe(2);
  waiting.destroy();
  await first.gone();

  await second.run(() => {
    const { channel } = process.getBuiltinModule('node:diagnostics_channel');
    for (let i = 0; i < 40; i++) {
      const validTo = 'Dec 31 23:59:59 2099 GMT';
      channel('handover:certificates').publish({ subject: `CN=${i}`, fingerprint256: `${i}`, validTo });
    }
  });
  const { samples: later } = await scrape(port);
  const subjects = [...later.keys()].filter((series) => series.startsWith('handover_certificate_not_after_seconds'));
  // The newest only: a label has an end.
  expect(subjects).toHaveLength(32);
  expect(later.get('handover_certificate_not_after_seconds{subject="CN=39"}')).toBe(4_102_444_799);
  const labels = [...later.keys()].flatMap((series) => [...series.matchAll(/(\w+)="/g)].map(([, label]) => label));
  // Seven, and the one every histogram has.
  expect([...new Set(labels)].sort()).toEqual([
    'code',
    'generation',
    'le',
    'listener',
    'phase',
    'result',
    'state',
    'subject',
  ]);
  await second.close();
});

/** Asks again and again, as a scraper does: how much an older generation has left comes by its reports. */
async function untilScraped<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (const end = performance.now() + 10_000; performance.now() < end; ) {
    const seen = await look();
    if (seen !== undefined) return seen;
  }
  throw new Error('waited 10000 ms for what the scrapes should say');
}

it('G9: collects as OpenMetrics, and beside metrics of the app', async () => {
  const work = boot(async (inside) => {
    const { Registry, Counter } = (await inside.load('prom-client')) as typeof import('prom-client');
    const { registerMetrics } = (await inside.load('handover/metrics')) as typeof import('../../lib/metrics.js');
    const registry = new Registry();
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    new Counter({ name: 'app_total', help: 'of the app', registers: [registry] }).inc(2);
    const handover = await inside.open();
    const stop = registerMetrics(handover, registry, { prefix: 'my_' });
    const { length } = await registry.getMetricsAsJSON();
    inside.say('text', [await registry.metrics(), length]);
    stop();
  });
  const { first } = await chain(work);
  const [text, length] = await first.said<[string, number]>('text');
  expect(length).toBe(12);
  expect(text).toContain('my_handovers_total{result="completed",code=""} 0');
  expect(text).not.toContain('_total_total');
  expect(text).toContain('app_total 2');
  expect(text.endsWith('# EOF\n')).toBe(true);
  await first.gone();
});

describe('what is counted', () => {
  const outcome = (handoverId: string, code?: string) =>
    ({
      handoverId,
      generation: 1,
      result: code === undefined ? 'completed' : 'failed',
      code,
      durationMs: 1,
      phases: [],
      moved: 1,
      ended: 2,
      cut: 3,
    }) as const;

  it('counts a handover once, however often it is told of', () => {
    const once = count(NOTHING_COUNTED, outcome('a'));
    expect(count(once, outcome('a'))).toBe(once);
    expect(count(once, outcome('b'))).toMatchObject({ moved: 2, ended: 4, cut: 6, sequence: 2 });
  });

  it('has a closed list of codes', () => {
    const codes = ['ERR_HANDOVER_TIMEOUT', 'ABORT_ERR', 'whatever', 'something else'];
    const state = codes.reduce((all, code, i) => count(all, outcome(`${i}`, code)), NOTHING_COUNTED);
    const failures = state.handovers.filter(({ result, count: times }) => result === 'failed' && times > 0);
    // All that can be are there from the beginning.
    expect(state.handovers).toHaveLength(NOTHING_COUNTED.handovers.length);
    expect(failures.map(({ code, count: times }) => [code, times])).toEqual([
      ['ERR_HANDOVER_TIMEOUT', 1],
      ['ABORT_ERR', 1],
      ['other', 2],
    ]);
  });

  it('takes the newer of two, and nothing it cannot read', () => {
    const one = count(NOTHING_COUNTED, outcome('a'));
    const two = count(one, outcome('b'));
    expect(newer(one, encodeState(two))).toEqual(two);
    expect(newer(two, encodeState(one))).toBe(two);
    expect(newer(one, Buffer.from('not JSON'))).toBe(one);
    expect(newer(one, undefined)).toBe(one);
    // Of a version that counts less.
    const old = { sequence: 9, handovers: [] } as Partial<MetricState>;
    expect(newer(one, Buffer.from(JSON.stringify(old)))).toEqual({ ...NOTHING_COUNTED, sequence: 9 });
  });
});

describe('G8: gauges fall again', () => {
  /** The metrics of a handover that is only what the test says it is. */
  function registered() {
    const families: { name: string; get(): Promise<{ values: readonly { value: number; labels: object }[] }> }[] = [];
    const handover = {
      generation: 1,
      isInCharge: true,
      closing: new AbortController().signal,
      draining: [] as { generation: number; connections: number }[],
      connectionCount: 0,
      listeners: [] as { name: string; queueDepth?: number }[],
      keep: () => {},
      inherited: () => undefined,
    };
    const registry = { registerMetric: (metric: object) => families.push(metric as never) };
    onTestFinished(registerMetrics(handover as never, registry));
    const values = async (name: string): Promise<number[]> => {
      const family = families.find((one) => one.name === `handover_${name}`);
      return (await family?.get())?.values.map(({ value }) => value) ?? [];
    };
    return { handover, values };
  }

  const requested = (handoverId: string) =>
    publish('requested', { handoverId, generation: 1, requester: { by: 'app' }, profile: undefined } as never);
  const ended = (handoverId: string, result = 'completed') =>
    publish('outcome', { handoverId, result, code: undefined, phases: [], moved: 0, ended: 0, cut: 0 } as never);
  const inCharge = (...unclaimed: string[]) =>
    publish('in-charge', { handoverId: undefined, generation: 1, claimed: [], unclaimed });

  it.each(['completed', 'failed', 'recalled', 'discarded'])('handovers under way, one that is %s', async (result) => {
    const { values } = registered();
    requested('a');
    requested('b');
    expect(await values('in_progress')).toEqual([2]);
    ended('a', result);
    expect(await values('in_progress')).toEqual([1]);
    ended('b', result);
    ended('b', result);
    expect(await values('in_progress')).toEqual([0]);
  });

  it('unclaimed listeners: those of the last handover count', async () => {
    const { values } = registered();
    inCharge('old', 'older');
    expect(await values('unclaimed_descriptors')).toEqual([2]);
    inCharge('old');
    expect(await values('unclaimed_descriptors')).toEqual([1]);
    inCharge();
    expect(await values('unclaimed_descriptors')).toEqual([0]);
  });

  it('connections of older generations, when these are gone; and queues that are empty', async () => {
    const { handover, values } = registered();
    handover.connectionCount = 5;
    handover.draining = [1, 3, 2].map((generation) => ({ generation, connections: generation * 10 }));
    handover.listeners = [{ name: 'web', queueDepth: 7 }];
    expect(await values('open_connections')).toEqual([5, 30, 30]);
    expect(await values('accept_queue_depth')).toEqual([7]);
    handover.draining = handover.draining.slice(2);
    expect(await values('open_connections')).toEqual([5, 20, 0]);
    handover.draining = [];
    handover.connectionCount = 0;
    handover.listeners = [];
    expect(await values('open_connections')).toEqual([0, 0, 0]);
    expect(await values('accept_queue_depth')).toEqual([]);
  });

  it('the state: one of all, and none that was', async () => {
    const { handover, values } = registered();
    expect(await values('state')).toEqual([0, 1, 0]);
    handover.isInCharge = false;
    expect(await values('state')).toEqual([1, 0, 0]);
    handover.closing = AbortSignal.abort();
    expect(await values('state')).toEqual([0, 0, 1]);
  });
});

it.each([
  [{ prefx: 'a_' }, /options\.prefx" must be absent/],
  [{ prefix: 1 }, /options\.prefix" must be/],
  [{ prefix: '1st_' }, /options\.prefix" must be/],
])('refuses the options %j before anything is registered', (options, message) => {
  const nobody = undefined as never;
  expect(() => registerMetrics(nobody, nobody, options as { prefix?: string })).toThrow(message);
});
