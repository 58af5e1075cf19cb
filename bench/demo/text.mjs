// Numbers, columns and colours.

/** @typedef {(style: 'good' | 'bad' | 'faint' | 'strong', text: string) => string} Paint */

const codes = { good: 32, bad: 31, faint: 2, strong: 1 };
const grouping = new Intl.NumberFormat('en-US');

/**
 * Colours only where somebody looks, and not against their wish (no-color.org).
 * @param {NodeJS.WriteStream} stream
 * @returns {Paint}
 */
export function painter(stream) {
  if (!stream.isTTY || process.env.NO_COLOR) return (_style, text) => text;
  return (style, text) => `\x1b[${codes[style]}m${text}\x1b[0m`;
}

/** @param {number} number */
export function count(number) {
  return grouping.format(number);
}

/** @param {number} time */
export function milliseconds(time) {
  return `${time.toFixed(1)} ms`;
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 * @param {Paint} paint
 */
export function table(head, rows, paint) {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => visibleLength(row[column]))));
  const line = (cells) =>
    cells.map((cell, column) => cell + ' '.repeat(widths[column] - visibleLength(cell))).join('   ');
  return [paint('strong', line(head).trimEnd()), ...rows.map((row) => line(row).trimEnd())].join('\n');
}

function visibleLength(text) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences painted above
  return text.replace(/\x1b\[\d+m/g, '').length;
}
