// A folder of its own for a test.

import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** An empty folder, readable for its user only, without a link in its path; removed with its content when the test ends. */
export function temporaryFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'handover-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
