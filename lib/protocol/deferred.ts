// A promise with its `resolve` and `reject`: Promise.withResolvers, which Node 20 does not have. A rejection that no caller
// waits for causes no unhandledRejection.

export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
  }
}
