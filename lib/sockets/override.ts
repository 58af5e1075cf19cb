// Replaces properties of one object, own or inherited, by own ones, until the caller puts the former ones back.

/** The replacement of one property: a value, or a getter. */
export interface Override {
  readonly value?: unknown;
  readonly get?: () => unknown;
}

export type Overrides = Readonly<Record<string, Override>>;

/**
 * Defines own properties that are not enumerable. Returns a function whose first call puts the former ones back. A caller that
 * overrides many objects gives all of them the same values: V8 then makes one hidden class for all, not one for each.
 */
export function override(target: object, properties: Overrides): () => void {
  const former: [string, PropertyDescriptor | undefined][] = [];
  for (const key in properties) {
    former.push([key, Object.getOwnPropertyDescriptor(target, key)]);
    const { get, value } = properties[key] as Override;
    if (get) Object.defineProperty(target, key, { get, configurable: true });
    else Object.defineProperty(target, key, { value, configurable: true, writable: true });
  }
  return () => {
    // The last one first: V8 then goes back to the former hidden class. Any other order makes the object a dictionary.
    for (const [key, property] of former.splice(0).reverse()) {
      if (property) Object.defineProperty(target, key, property);
      else Reflect.deleteProperty(target, key);
    }
  };
}
