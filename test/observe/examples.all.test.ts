// examples/observability as its users take it: promtool reads the rules and plays their tests, and every expression of the
// dashboard; and all of them name metrics there are.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import type { MetricFamily } from '../../lib/metrics.js';
import { registerMetrics } from '../../lib/metrics.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const FOLDER = fileURLToPath(new URL('../../examples/observability', import.meta.url));
const read = (file: string): string => readFileSync(join(FOLDER, file), 'utf8');
const hasPromtool = spawnSync('promtool', ['--version']).error === undefined;
if (!hasPromtool) process.stderr.write('SKIPPED: no promtool here (Debian: prometheus); the rules are not checked\n');

const promtool = (...args: string[]): string => execFileSync('promtool', args, { cwd: FOLDER, encoding: 'utf8' });

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
  readonly templating: { readonly list: readonly { readonly name: string }[] };
}

const dashboard = JSON.parse(read('grafana-dashboard.json')) as Dashboard;
const expressions = [
  ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ expr }) => expr),
];

/** What a scrape can hold. */
function metricNames(): Set<string> {
  const families: MetricFamily[] = [];
  const nothing = { generation: 1, isInCharge: true, closing: new AbortController().signal, draining: [] };
  const handover = { ...nothing, keep: () => {}, inherited: () => undefined, connectionCount: 0, listeners: [] };
  registerMetrics(handover, { registerMetric: (metric) => void families.push(metric as MetricFamily) })();
  return new Set(
    families.flatMap(({ name, type }) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  );
}

it.skipIf(!hasPromtool)('the alert rules are rules, and do what their tests say', () => {
  expect(promtool('check', 'rules', 'alerts.yml')).toContain('SUCCESS: 8 rules found');
  expect(promtool('test', 'rules', 'alerts.test.yml')).toContain('SUCCESS');
});

it.skipIf(!hasPromtool)('the dashboard asks what Prometheus understands', () => {
  const folder = temporaryFolder();
  const rules = expressions.map((expr, i) => {
    const filled = expr.replaceAll(/\[\$__(rate_interval|range)\]/g, '[5m]');
    return { record: `panel:${i}`, expr: filled };
  });
  // JSON is YAML.
  writeFileSync(join(folder, 'rules.yml'), JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  const checked = promtool('check', 'rules', join(folder, 'rules.yml'));
  expect(checked).toContain(`SUCCESS: ${expressions.length} rules found`);
});

it('rules and dashboard name metrics there are, and every metric is in one of them', () => {
  const there = metricNames();
  const used = new Set(
    [...`${read('alerts.yml')} ${expressions.join(' ')}`.matchAll(/\bhandover_\w+/g)].map(([name]) => name),
  );
  expect([...used].filter((name) => !there.has(name))).toEqual([]);
  expect([...there].filter((name) => !used.has(name))).toEqual([]);
  // Nor variables that nobody set.
  const variables = [...expressions.join(' ').matchAll(/\$(?!__)(\w+)/g)].map(([, name]) => name);
  expect(new Set(variables)).toEqual(new Set(['job', 'instance']));
  expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance']);
});
