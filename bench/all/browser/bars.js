// Draws each element with `data-bars` from the page's data: a bar for each median, a line from the least to the most, and
// the figures beside it. Lying, because names are long and telephones narrow.

const ROW = 30;
const BELOW = 34;
const NAMES = { least: 60, part: 0.38 };
const FONT = '12px system-ui, sans-serif';
const FIGURES_ROOM = 64;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function figure(value) {
  if (value === null || value === undefined) return '–';
  const digits = value === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Breaks a name where it is too long, and cuts what has no place in two lines. */
function linesOf(context, name, width) {
  const lines = [''];
  for (const word of name.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width <= width || lines.at(-1) === '') lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  const shown = lines.slice(0, 2);
  if (lines.length > 2) shown[1] += ' …';
  return shown;
}

/** The names beside their bars; uPlot would not centre those of two lines. */
function drawNames(plot, bars, width) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.scale(ratio, ratio);
  ctx.font = FONT;
  ctx.fillStyle = colour('text');
  ctx.textAlign = 'right';
  ctx.textBaseline = 'middle';
  bars.forEach(({ name }, row) => {
    const lines = linesOf(ctx, name, width - 10);
    const middle = plot.valToPos(row, 'x', true) / ratio;
    lines.forEach((line, at) => {
      ctx.fillText(line, bbox.left / ratio - 8, middle + (at - (lines.length - 1) / 2) * 13);
    });
  });
  ctx.restore();
}

function drawSpreads(plot, bars) {
  const { ctx } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.lineWidth = 1.5 * ratio;
  ctx.strokeStyle = colour('text');
  ctx.fillStyle = colour('quiet');
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  bars.forEach(({ value: { median, min, max } }, row) => {
    const middle = plot.valToPos(row, 'x', true);
    const [from, to] = [plot.valToPos(min ?? 0, 'y', true), plot.valToPos(max ?? 0, 'y', true)];
    if (max > min) {
      ctx.beginPath();
      for (const end of [from, to]) {
        ctx.moveTo(end, middle - 4 * ratio);
        ctx.lineTo(end, middle + 4 * ratio);
      }
      ctx.moveTo(from, middle);
      ctx.lineTo(to, middle);
      ctx.stroke();
    }
    ctx.fillText(figure(median), to + 6 * ratio, middle);
  });
  ctx.restore();
}

function namesWidth(bars, width) {
  const context = document.createElement('canvas').getContext('2d');
  context.font = FONT;
  const longest = Math.max(NAMES.least, ...bars.map(({ name }) => context.measureText(name).width + 14));
  return Math.ceil(Math.min(longest, width * NAMES.part));
}

function optionsOf({ unit, bars }, width) {
  const most = Math.max(...bars.map(({ value: { max } }) => max ?? 0));
  const names = namesWidth(bars, width);
  const top = (most > 0 ? most : 1) * (1 + FIGURES_ROOM / Math.max(width - names - FIGURES_ROOM, FIGURES_ROOM));
  const axis = { stroke: () => colour('quiet'), font: FONT };
  const line = { stroke: () => colour('line'), width: 0.5 };
  const spread = (_, __, ___, row) => {
    const { median, min, max } = bars[row ?? -1]?.value ?? {};
    return row == null ? '–' : `${figure(median)} (${figure(min)} to ${figure(max)}) ${unit}`;
  };
  return {
    width,
    height: bars.length * ROW + BELOW,
    padding: [0, 16, 0, 0],
    scales: {
      x: { time: false, ori: 1, dir: -1, range: [-0.5, bars.length - 0.5] },
      y: { ori: 0, dir: 1, range: [0, top] },
    },
    axes: [
      { ...axis, scale: 'x', side: 3, size: names, grid: { show: false }, ticks: { show: false }, values: () => [] },
      { ...axis, scale: 'y', side: 2, size: BELOW, grid: line, ticks: line, space: 70 },
    ],
    series: [
      { label: 'bar', value: (_, row) => bars[row ?? -1]?.name ?? '–' },
      {
        label: 'median',
        value: spread,
        fill: () => `${colour('c1')}99`,
        stroke: () => colour('c1'),
        paths: uPlot.paths.bars({ size: [0.6, 22] }),
        points: { show: false },
      },
    ],
    cursor: { x: false, y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: { draw: [(plot) => drawNames(plot, bars, names), (plot) => drawSpreads(plot, bars)] },
  };
}

function draw(element, chart) {
  const data = [chart.bars.map((_, row) => row), chart.bars.map(({ value }) => value.median ?? 0)];
  const make = () => new uPlot(optionsOf(chart, element.clientWidth), data, element);
  let plot = make();
  const again = () => {
    plot.destroy();
    plot = make();
  };
  // How wide the names are depends on the width.
  new ResizeObserver(() => element.clientWidth !== plot.width && again()).observe(element);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
}

const { charts } = JSON.parse(document.getElementById('data').textContent);
for (const element of document.querySelectorAll('[data-bars]')) draw(element, charts[element.dataset.bars]);
