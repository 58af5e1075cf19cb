// `npm run bench -- herd`: that it runs, and what it reports. Figures are not judged here: they belong to a quiet machine.
import { expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { benchReport, spread } from './run.js';

expectNoLeaks();
const programs = usePrograms();

const RUN_TIMEOUT = 90_000;
const MANY = 10;

interface Row {
  readonly system: string;
  readonly processes: number;
  readonly load: string;
  readonly clientCpu: { readonly median: number };
  readonly share: { readonly most: { readonly median: number }; readonly fewest: { readonly median: number } };
}

it.runIf(process.platform === 'linux')(
  '--quick --json reports each of the three under both loads, leaving no process and no file',
  async () => {
    const { rows } = await benchReport<{ rows: Row[] }>(programs, 'herd', RUN_TIMEOUT);
    const systems = [
      { system: 'one process', processes: 1 },
      { system: 'shared listener', processes: MANY },
      { system: 'SO_REUSEPORT', processes: MANY },
    ];
    expect(rows).toEqual(
      ['paced', 'full'].flatMap((load) =>
        systems.map((system) => ({
          ...system,
          load,
          connectionsPerSecond: spread,
          latencyMs: { p50: spread, p90: spread, p99: spread, max: spread },
          cpuUsPerConnection: spread,
          clientCpu: spread,
          wakeUpsPerConnection: spread,
          emptyTurnsPerConnection: spread,
          share: { most: spread, fewest: spread },
        })),
      ),
    );
    for (const { system, processes, share, clientCpu } of rows) {
      // Boot and load: something, and no more than its threads can.
      expect(clientCpu.median, system).toBeGreaterThan(0.01);
      expect(clientCpu.median, system).toBeLessThan(4);
      // The parts of the connections are of all of them, and of each process: 1 where there is one.
      expect(share.most.median, system).toBeGreaterThanOrEqual(1 / processes);
      expect(share.most.median, system).toBeLessThanOrEqual(1);
      expect(share.fewest.median, system).toBeLessThanOrEqual(1 / processes);
    }
  },
  RUN_TIMEOUT + 5_000,
);
