// Draws each element with `data-chart` from the page's data: lines, or stacked areas, over one axis of time. All charts of a
// page share the cursor and the visible stretch of time.

interface SeriesData {
  readonly label: string;
  /** 1 to 8: a colour of the style. */
  readonly color: number;
  readonly values: readonly (number | null)[];
  /** Hidden until the reader chooses its name in the legend. */
  readonly isHidden?: boolean;
}

interface ChartData {
  readonly unit: string;
  /** `stacked`: each series is drawn on top of the sum of those below. */
  readonly kind: 'line' | 'stacked';
  /** Decimals in the legend. */
  readonly digits?: number;
  readonly series: readonly SeriesData[];
}

/** A stretch of time behind the lines, in seconds. `label` is drawn where there is room. */
interface MarkData {
  readonly from: number;
  readonly to: number;
  readonly label: string;
}

/** A row of stretches above the lines; `color` 0: none of the series. */
interface LaneData {
  readonly label: string;
  readonly spans: readonly (MarkData & { readonly color: number })[];
}

interface PageData {
  /** Seconds. */
  readonly x: readonly number[];
  readonly marks?: readonly MarkData[];
  readonly lanes?: readonly LaneData[];
  readonly charts: Readonly<Record<string, ChartData>>;
}

const HEIGHT = 210;
const LANE = 14;
const plots: uPlot[] = [];

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * Sums the series from the last one on: the last lies at the bottom, and is drawn over series that are 0 there. Hidden series
 * do not count.
 */
function stack(series: readonly SeriesData[], isShown: (index: number) => boolean): (number | null)[][] {
  const sums: number[] = [];
  return series
    .map(({ values }, index) => ({ values, isCounted: isShown(index) }))
    .reverse()
    .map(({ values, isCounted }) =>
      values.map((value, at) => {
        const sum = (sums[at] ?? 0) + (isCounted ? (value ?? 0) : 0);
        sums[at] = sum;
        return sum;
      }),
    )
    .reverse();
}

/** The stretches behind and above what a chart shows. */
function drawMarks(plot: uPlot, { marks = [] }: PageData, lanes: readonly LaneData[]): void {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const at = (time: number): number => {
    const x = plot.valToPos(time, 'x', true);
    return Math.min(Math.max(x, bbox.left), bbox.left + bbox.width);
  };
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = 'top';
  ctx.textAlign = 'left';
  for (const { from, to, label } of marks) {
    const [left, right] = [at(from), at(to)];
    if (right <= bbox.left || left >= bbox.left + bbox.width) continue;
    ctx.fillStyle = colour('band');
    ctx.fillRect(left, bbox.top, Math.max(right - left, 1.5 * ratio), bbox.height);
    ctx.fillStyle = colour('quiet');
    const room = bbox.left + bbox.width - right - 3 * ratio;
    const isRight = ctx.measureText(label).width <= room;
    const x = isRight ? right + 3 * ratio : left - 3 * ratio - ctx.measureText(label).width;
    if (lanes.length === 0) ctx.fillText(label, x, bbox.top + 2 * ratio);
  }
  lanes.forEach(({ label: name, spans }, row) => {
    const top = bbox.top - (lanes.length - row) * LANE * ratio;
    ctx.fillStyle = colour('quiet');
    ctx.textAlign = 'right';
    ctx.fillText(name, bbox.left - 6 * ratio, top + 1.5 * ratio);
    ctx.textAlign = 'left';
    for (const { from, to, label, color } of spans) {
      const [left, right] = [at(from), at(to)];
      if (right <= bbox.left || left >= bbox.left + bbox.width) continue;
      ctx.fillStyle = color === 0 ? colour('quiet') : colour(`c${color}`);
      ctx.fillRect(left, top + ratio, Math.max(right - left, 1.5 * ratio), (LANE - 3) * ratio);
      if (ctx.measureText(label).width + 4 * ratio > right - left) continue;
      ctx.fillStyle = colour('back');
      ctx.fillText(label, left + 2 * ratio, top + 1.5 * ratio);
    }
  });
  ctx.restore();
}

function optionsOf(data: PageData, chart: ChartData, width: number, lanes: readonly LaneData[]): uPlot.Options {
  const { unit, series, kind, digits = 0 } = chart;
  const format = (value: number | null | undefined): string =>
    value == null
      ? '–'
      : value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const axis: uPlot.Axis = {
    stroke: () => colour('quiet'),
    grid: { stroke: () => colour('line'), width: 0.5 },
    ticks: { stroke: () => colour('line'), width: 0.5 },
    font: '11px system-ui, sans-serif',
  };
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const redraw = (plot: uPlot): void => {
    if (kind !== 'stacked') return;
    const sums = stack(series, (index) => plot.series[index + 1]?.show !== false);
    plot.setData([data.x as number[], ...sums], false);
  };
  return {
    width,
    height: HEIGHT + lanes.length * LANE,
    padding: [10 + lanes.length * LANE, 12, 0, 0],
    scales: { x: { time: false }, y: { range: (_, __, max) => [0, (max ?? 0) > 0 ? max * 1.15 : 1] } },
    cursor: {
      sync: { key: 'page' },
      drag: { x: true, y: false },
      points: { size: 6 },
      // A step reaches from its own point to the next one.
      dataIdx: (_, __, nearest, time) => ((data.x[nearest] ?? 0) > time ? Math.max(0, nearest - 1) : nearest),
    },
    axes: [
      { ...axis, values: (_, all) => all.map((value) => `${value} s`) },
      { ...axis, size: 64, values: (_, all) => all.map((value) => `${value.toLocaleString('en-US')} ${unit}`.trim()) },
    ],
    series: [
      { label: 'at', value: (_, time) => (time == null ? '–' : `${time.toFixed(2)} s`) },
      ...series.map(({ label, color, values, isHidden = false }): uPlot.Series => {
        const value: uPlot.Series['value'] = (_, __, ___, at) => `${format(at == null ? null : values[at])} ${unit}`;
        const drawn = { label, value, show: !isHidden, width: 1.5, stroke: () => colour(`c${color}`) };
        const steps = stepped === undefined ? {} : { paths: stepped };
        const fill = { fill: () => `${colour(`c${color}`)}40` };
        return { ...drawn, ...steps, points: { show: false }, ...(kind === 'stacked' && fill) };
      }),
    ],
    ...(kind === 'stacked' && {
      bands: series.slice(1).map((_, index) => ({ series: [index + 1, index + 2] as [number, number] })),
    }),
    hooks: {
      drawClear: [(plot) => drawMarks(plot, data, lanes)],
      setSeries: [redraw],
      setCursor: [(plot) => tellLanes(plot, lanes)],
      setScale: [(plot, key) => key === 'x' && followZoom(plot)],
    },
  };
}

/** Shows the names of the lanes' bars at the cursor: a bar may be too short for its name. */
function tellLanes(plot: uPlot, lanes: readonly LaneData[]): void {
  const line = plot.root.parentElement?.nextElementSibling;
  const { left } = plot.cursor;
  if (lanes.length === 0 || !line?.classList.contains('at-cursor') || left == null) return;
  const time = left < 0 ? Number.NaN : plot.posToVal(left, 'x');
  const names = lanes.flatMap(({ label, spans }) => {
    const under = spans.filter(({ from, to }) => from <= time && time <= to);
    return under.length === 0 ? [] : [`${label} ${under.map((span) => span.label).join(', ')}`];
  });
  line.textContent = names.join('  ·  ');
}

let isFollowing = false;

/** Zooms all charts to the stretch of time that one shows. */
function followZoom({ scales }: uPlot): void {
  const { min, max } = scales.x ?? {};
  if (isFollowing || min == null || max == null) return;
  isFollowing = true;
  for (const plot of plots) {
    if (plot.scales.x?.min !== min || plot.scales.x?.max !== max) plot.setScale('x', { min, max });
  }
  isFollowing = false;
}

function draw(element: HTMLElement, data: PageData): void {
  const chart = data.charts[element.dataset.chart ?? ''];
  if (!chart) return;
  const lanes = element.dataset.lanes === undefined ? [] : (data.lanes ?? []);
  const values = chart.kind === 'stacked' ? stack(chart.series, () => true) : chart.series.map((one) => one.values);
  const aligned = [data.x, ...values] as uPlot.AlignedData;
  const plot = new uPlot(optionsOf(data, chart, element.clientWidth, lanes), aligned, element);
  plots.push(plot);
  new ResizeObserver(() => {
    if (element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height: plot.height });
  }).observe(element);
}

function start(data: PageData): void {
  for (const element of document.querySelectorAll<HTMLElement>('[data-chart]')) draw(element, data);
  for (const button of document.querySelectorAll<HTMLButtonElement>('button[data-from]')) {
    button.addEventListener('click', () => {
      const { from, to } = button.dataset;
      plots[0]?.setScale('x', { min: Number(from), max: Number(to) });
      for (const other of document.querySelectorAll('button[data-from]')) {
        other.setAttribute('aria-pressed', String(other === button));
      }
    });
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const plot of plots) plot.redraw(false);
  });
}

start(JSON.parse(document.getElementById('data')?.textContent ?? '{"x":[],"charts":{}}') as PageData);
