// Runs the suite on other releases of Node, taken from npm:
//   npm run test:nodes [-- 22 24 26] [-- <arguments of vitest>]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const PACKAGE = `node-${process.platform}-${process.arch}`;
const DEFAULT_MAJORS = ['22', '24', '26'];

const say = (line) => process.stdout.write(`${line}\n`);

/** The binary of the newest release of this major; installed beside the other caches when it is not there yet. */
function install(major) {
  const prefix = join(ROOT, 'node_modules/.cache/handover-nodes', major);
  const binary = join(prefix, 'node_modules', PACKAGE, 'bin/node');
  if (existsSync(binary)) return binary;
  mkdirSync(prefix, { recursive: true });
  const options = ['--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund'];
  const npm = ['install', '--prefix', prefix, ...options, `${PACKAGE}@${major}`];
  const { status, error } = spawnSync('npm', npm, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status === 0 && existsSync(binary)) return binary;
  throw new Error(`COULD NOT INSTALL ${PACKAGE}@${major}: ${error?.message ?? `npm exited with ${status}`}`);
}

/** Runs the suite with that binary; children find the same one, as process.execPath and as `node`. */
function test(binary, vitestArguments) {
  const env = { ...process.env, PATH: `${dirname(binary)}${delimiter}${process.env.PATH}` };
  const options = { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] };
  const { status, signal } = spawnSync(binary, [VITEST, 'run', ...vitestArguments], options);
  return status === 0 ? undefined : `vitest ended with ${signal ?? `code ${status}`}`;
}

function run(major, vitestArguments) {
  try {
    const binary = install(major);
    const version = spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout.trim();
    say(`\n=== Node ${version}`);
    return { name: `Node ${version}`, failure: test(binary, vitestArguments) };
  } catch (error) {
    return { name: `Node ${major}`, failure: error.message };
  }
}

const given = process.argv.slice(2);
const end = given.indexOf('--');
const majors = end === -1 ? given : given.slice(0, end);
const vitestArguments = end === -1 ? [] : given.slice(end + 1);

const odd = majors.find((major) => !/^\d+$/.test(major));
if (odd !== undefined) {
  say(`"${odd}" is no major version. Usage: npm run test:nodes [-- 22 24 26] [-- <arguments of vitest>]`);
  process.exit(2);
}

const build = spawnSync('npm', ['run', '--silent', 'build:js'], { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
if (build.status !== 0) process.exit(1);

const results = (majors.length > 0 ? majors : DEFAULT_MAJORS).map((major) => run(major, vitestArguments));
say('');
for (const { name, failure } of results)
  say(`${failure === undefined ? 'passed' : 'FAILED'}  ${name}${failure ? `: ${failure}` : ''}`);
process.exitCode = results.every(({ failure }) => failure === undefined) ? 0 : 1;
