// A page as one file: it contains its styles, scripts and data, and loads nothing from the network.
import { readFileSync } from 'node:fs';
import { embeddable, escapeHtml, type Html } from './html.js';

export interface Page {
  readonly title: string;
  /** Added after the common style. */
  readonly style?: string;
  readonly body: Html;
  /** Data for the scripts, as JSON in the element `data`. */
  readonly data?: unknown;
  /** Sources of the scripts, in order; they run after the body is parsed. */
  readonly scripts?: readonly string[];
}

/** Forbids the browser to load anything, even where the page's content asks for it. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

export function page({ title, style = '', body, data, scripts = [] }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${asset('page.css')}${style}</style>
</head>
<body>
${body.text}
${data === undefined ? '' : `<script type="application/json" id="data">${embeddable(data)}</script>`}
${scripts.map((script) => `<script>${script}</script>`).join('\n')}
</body>
</html>
`;
}

/** The code and style that draw charts; browser/charts.ts defines the data. */
export interface Assets {
  /** For `scripts`: the chart library with its licence, and the code that draws each `data-chart`. */
  readonly scripts: readonly string[];
  /** For `style`. */
  readonly style: string;
}

export function assets(): Assets {
  const licence = `/*\nuPlot\n${asset('uPlot.LICENSE')}*/\n`;
  return { scripts: [licence + asset('uPlot.iife.min.js'), asset('charts.js')], style: asset('uPlot.min.css') };
}

/** Reads an asset of the build, also when this file runs as source: lib/ and dist/ have the same depth. */
function asset(name: string): string {
  return readFileSync(new URL(`../../dist/report/browser/${name}`, import.meta.url), 'utf8');
}
