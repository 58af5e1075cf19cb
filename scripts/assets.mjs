// Puts what the pages of `handover report` are made of into dist/: who installs the package has no development dependencies.
import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const browser = join(root, 'dist', 'report', 'browser');
const uPlot = dirname(dirname(createRequire(import.meta.url).resolve('uplot')));

mkdirSync(browser, { recursive: true });
copyFileSync(join(root, 'lib', 'report', 'browser', 'page.css'), join(browser, 'page.css'));
copyFileSync(join(uPlot, 'dist', 'uPlot.iife.min.js'), join(browser, 'uPlot.iife.min.js'));
copyFileSync(join(uPlot, 'dist', 'uPlot.min.css'), join(browser, 'uPlot.min.css'));
copyFileSync(join(uPlot, 'LICENSE'), join(browser, 'uPlot.LICENSE'));
