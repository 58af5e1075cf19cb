// A page that is one file: its styles, scripts and data are in it, and it asks no network for anything.
import { readFileSync } from 'node:fs';
import { embeddable, escapeHtml, type Html } from './html.js';

export interface Page {
  readonly title: string;
  /** Behind the common style. */
  readonly style?: string;
  readonly body: Html;
  /** What the scripts read, as JSON, from the element `data`. */
  readonly data?: unknown;
  /** Their sources, in order; run when the body is there. */
  readonly scripts?: readonly string[];
}

/** Even if something in the page asked for it, the browser would load nothing. */
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

/** What draws charts: see browser/charts.ts for the data it expects. */
export interface Assets {
  /** For `scripts`: the chart library with its licence, and what draws each `data-chart`. */
  readonly scripts: readonly string[];
  /** For `style`. */
  readonly style: string;
}

export function assets(): Assets {
  const licence = `/*\nuPlot\n${asset('uPlot.LICENSE')}*/\n`;
  return { scripts: [licence + asset('uPlot.iife.min.js'), asset('charts.js')], style: asset('uPlot.min.css') };
}

/** Those of the build, also for who imports this file as a source: lib/ and dist/ are alike. */
function asset(name: string): string {
  return readFileSync(new URL(`../../dist/report/browser/${name}`, import.meta.url), 'utf8');
}
