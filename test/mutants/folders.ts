// What `npm run test:mutants` changes, folder by folder, and the tests that have to notice. They are those nearest to the
// code, of the files that start no program: a mutant that one of them kills never waits for a process.

export interface Folder {
  readonly name: string;
  /** Patterns of the files whose code is changed; one that begins with `!` takes files out. */
  readonly mutate: readonly string[];
  /** Test files, the quick ones first: the first test that fails ends the run of a mutant. */
  readonly tests: readonly string[];
}

const CHANNEL = ['control-commands', 'decoder', 'wire', 'rpc', 'channel'].map((name) => `test/channel/${name}.test.ts`);
const PEERS = ['test/handover/peer.test.ts', 'test/faults/predecessor-frames.test.ts'];
const SIDES = 'test/process/sides.test.ts';

/** Stands for every file of the folder. */
const whole = (name: string): readonly string[] => [`lib/${name}/**/*.ts`];
const files = (folder: string, ...names: string[]): readonly string[] =>
  names.map((name) => `lib/${folder}/${name}.ts`);

export const FOLDERS: readonly Folder[] = [
  { name: 'protocol', mutate: whole('protocol'), tests: [...CHANNEL, 'test/protocol/**/*.test.ts', ...PEERS] },
  {
    name: 'endpoints',
    mutate: whole('endpoints'),
    tests: ['test/endpoints/**/*.test.ts', 'test/ledger/ledger.test.ts'],
  },
  {
    name: 'resources',
    mutate: whole('resources'),
    tests: ['test/resources/**/*.test.ts', 'test/ledger/ledger.test.ts', 'test/tls/certificates.test.ts', ...PEERS],
  },
  {
    name: 'transfer',
    mutate: whole('transfer'),
    tests: ['offering', 'holding', 'between', 'servers', 'rebalance', 'transfer'].map(
      (name) => `test/migration/${name}.test.ts`,
    ),
  },
  {
    name: 'handover',
    mutate: whole('handover'),
    tests: ['test/handover/machine.test.ts', 'test/engine/succession.test.ts', ...PEERS, SIDES],
  },
  {
    name: 'process',
    mutate: whole('process'),
    tests: ['test/auto/arguments.test.ts', SIDES, 'test/process/lifecycle.test.ts'],
  },
  {
    // Bytes in, values out. The other files decide nothing without a socket of Node's.
    name: 'protocols',
    mutate: files(
      'protocols',
      'state',
      'slices',
      'connection-survey',
      'websocket/frame-tracker',
      'websocket/response-head',
    ),
    tests: ['state', 'frame-tracker', 'protocol'].map((name) => `test/connections/${name}.test.ts`),
  },
  {
    // The only timers and names among what starts programs.
    name: 'supervisor',
    mutate: files('supervisor', 'pace', 'roll'),
    tests: ['test/supervisor/**/*.pure.test.ts'],
  },
];
