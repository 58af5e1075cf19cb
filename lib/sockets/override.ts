// Own properties of one object in front of its former ones, own or inherited, for as long as somebody needs them.

/** In place of a value, or read by a function. */
export interface Override {
  readonly value?: unknown;
  readonly get?: () => unknown;
}

/** Defines own properties that are not enumerable, and returns the function that puts back the former ones, once. */
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
