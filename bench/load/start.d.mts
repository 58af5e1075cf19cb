// The types of start.mjs, for the benchmarks.

export interface Group {
  readonly kind: 'keepAlive' | 'oneShot' | 'held' | 'webSocket';
  readonly connections: number;
  readonly think?: number;
  readonly limit?: number;
}

export interface LoadConfig {
  readonly host: string;
  readonly port: number;
  readonly deadline: number;
  readonly identifyBy: string;
  readonly routes: readonly {
    readonly path: string;
    readonly status: number;
    readonly length: number;
    readonly sha256: string;
    readonly weight?: number;
  }[];
  readonly groups: readonly Group[];
}

export class Load {
  readonly stats: {
    readonly ok: number;
    readonly failed: number;
    readonly opened: number;
    readonly closedByServer: number;
    readonly failures: Readonly<Record<string, number>>;
  };
  readonly seen: ReadonlyMap<string, bigint>;
  readonly done: boolean;
  readonly broken: string;
  constructor(config: LoadConfig, changed: () => void);
  stop(): void;
  end(): Promise<void>;
}
