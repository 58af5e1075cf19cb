// A certificate for a benchmark, of the kind whose handshake costs least.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Undefined where there is no openssl(1). */
export function makeCertificate(): Certificate | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'handover-bench-'));
  try {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-keyout', 'key', '-out', 'cert'];
    const args = ['req', '-x509', ...curve, '-days', '2', '-subj', '/CN=localhost', ...files];
    if (spawnSync('openssl', args, { cwd: folder }).status !== 0) return undefined;
    return { key: readFileSync(join(folder, 'key'), 'utf8'), cert: readFileSync(join(folder, 'cert'), 'utf8') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
