// Replaces properties of one object, own or inherited, by own ones, until the caller puts the former ones back.

/** The replacement of one property: a value, or a getter. */
export interface Override {
  readonly value?: unknown;
  readonly get?: () => unknown;
}

/** Defines own properties that are not enumerable. Returns a function whose first call puts the former ones back. */
export function override(target: object, properties: Readonly<Record<string, Override>>): () => void {
  const former: [string, PropertyDescriptor | undefined][] = [];
  for (const key in properties) {
    former.push([key, Object.getOwnPropertyDescriptor(target, key)]);
    const { get, value } = properties[key] as Override;
    if (get) Object.defineProperty(target, key, { get, configurable: true });
    else Object.defineProperty(target, key, { value, configurable: true, writable: true });
  }
  return () => {
    for (const [key, property] of former.splice(0)) {
      if (property) Object.defineProperty(target, key, property);
      else Reflect.deleteProperty(target, key);
    }
  };
}
