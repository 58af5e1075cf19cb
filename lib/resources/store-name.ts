// The name under which the service manager keeps a listener while no process has it. It holds the listener's name and the
// address that the app asked for, so that the listener comes back as the same one.
import type { ManifestEntry } from '../protocol/frames.js';

export interface Stored {
  /** The manager's name for it. */
  readonly storeName: string;
  readonly name: string;
  /** The address that the app asked for, in canonical form. */
  readonly address: string;
}

const PREFIX = 'handover;';
/** FDNAME_MAX of systemd's fd-util.h. */
const MAX_LENGTH = 255;

/** `handover;web;tcp%3A//*%3A8080`, because a colon separates names; undefined where it would be too long (sd_notify(3)). */
export function storeNameOf({ name, address }: Pick<ManifestEntry, 'name' | 'address'>): string | undefined {
  const storeName = `${PREFIX}${encode(name)};${encode(address)}`;
  return storeName.length <= MAX_LENGTH ? storeName : undefined;
}

/** Undefined for a name that this package did not make. */
export function parseStoreName(storeName: string): Stored | undefined {
  if (!storeName.startsWith(PREFIX)) return undefined;
  const [name, address, ...rest] = storeName.slice(PREFIX.length).split(';').map(decode);
  if (name === undefined || address === undefined || rest.length > 0) return undefined;
  return { storeName, name, address };
}

/** Escapes to printable ASCII without the separators (fdname_is_valid in systemd's fd-util.c). */
function encode(text: string): string {
  return text.replace(/[^!-~]|[:;%]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
