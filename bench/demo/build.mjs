// Builds what the demo needs and does not find.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/** A binary that is there loads well within this time; what takes longer is a build and deserves a notice. */
const silence = 700;

export class BuildError extends Error {}

/**
 * @param {string} root The package's directory.
 * @param {(notice: string) => void} notify
 * @param {AbortSignal} signal
 * @throws {BuildError} With the output of what failed.
 */
export async function buildMissing(root, notify, signal) {
  if (!existsSync(path.join(root, 'node_modules'))) {
    throw new BuildError('the dependencies are not installed: run `npm install` first');
  }
  const notice = setTimeout(notify, silence, 'building the native addon (node native/install.mjs --required) ...');
  try {
    await command(process.execPath, ['native/install.mjs', '--required'], root, signal);
  } finally {
    clearTimeout(notice);
  }
  if (!existsSync(path.join(root, 'dist', 'index.js'))) {
    notify('building dist (npm run build:js) ...');
    await command('npm', ['run', '--silent', 'build:js'], root, signal);
  }
}

async function command(file, args, cwd, signal) {
  const child = spawn(file, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], signal });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const ended = await new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code, endedBy) => resolve(endedBy ?? code));
  });
  if (ended === 0) return;
  const shown = [file === process.execPath ? 'node' : file, ...args].join(' ');
  throw new BuildError(`\`${shown}\` ended with ${ended}\n${output.trimEnd()}`);
}
