// The options of `handover hammer`: one table for parsing and for the help (lib/cli/hammer.ts). The options of its report are
// in report/options.ts.

export const HAMMER_OPTIONS = {
  duration: {
    type: 'string',
    value: 'TIME',
    help: 'how long new requests begin (default 10s); times are 500ms, 10s, 2m, 1h',
  },
  requests: { type: 'string', value: 'N', help: 'end after exactly N requests, however long it takes' },
  connections: { type: 'string', value: 'N', help: 'N keep-alive clients and no others' },
  mix: {
    type: 'string',
    value: 'KIND:N,…',
    help: 'clients of each kind: keep-alive, new, idle, pipelined, half-sent, websocket (default keep-alive:10,new:2,idle:4,pipelined:2,half-sent:2)',
  },
  rate: {
    type: 'string',
    value: 'N',
    help: 'open loop: N requests a second, latency from when each should have begun; else each client asks when it has its answer',
  },
  threads: { type: 'string', value: 'N', help: 'threads of the load (default 1)' },
  think: {
    type: 'string',
    value: 'TIME',
    help: 'closed loop: what a client waits between answer and next request (default 0ms)',
  },
  idle: { type: 'string', value: 'TIME', help: 'what idle clients sleep at most, at least half of it (default 3s)' },
  'half-pause': { type: 'string', value: 'TIME', help: 'pause within a half-sent request (default 200ms)' },
  depth: { type: 'string', value: 'N', help: 'requests a pipelined client sends at once (default 4)' },
  timeout: {
    type: 'string',
    value: 'TIME',
    help: 'without a whole answer for so long, a request is unanswered (default 10s)',
  },
  'connect-timeout': {
    type: 'string',
    value: 'TIME',
    help: 'a connect that takes longer counts as refused (default 3s)',
  },
  method: { type: 'string', value: 'NAME', help: 'default GET' },
  header: { type: 'string', value: "'NAME: VALUE'", multiple: true, help: 'a header of each request; may be repeated' },
  body: { type: 'string', value: 'TEXT', help: 'body of each request' },
  unix: { type: 'string', value: 'PATH', help: 'connect to this Unix socket' },
  websocket: {
    type: 'string',
    value: 'PATH',
    help: 'where the websocket clients connect; it must echo (default: path of the URL)',
  },
  status: { type: 'string', value: 'RANGES', help: 'statuses that are right: 200-399 (default), or 200,404' },
  expect: {
    type: 'string',
    value: 'WHAT',
    help: 'the right body: text:TEXT, sha256:HEX, length:N, match:REGEX, or same (as the first one)',
  },
  identify: {
    type: 'string',
    value: 'HOW',
    help: 'what names the process that answers, to find switches: header:x-pid or body:REGEX',
  },
  'tls-version': { type: 'string', value: '1.2|1.3', help: 'pin the version of TLS' },
  'no-resume': { type: 'boolean', help: 'a whole TLS handshake for each connection' },
  ledger: {
    type: 'string',
    value: 'FILE',
    help: "number the requests, and compare with the lines 'begin N' and 'end N' a server writes to FILE",
  },
  'ledger-header': {
    type: 'string',
    value: 'NAME',
    help: 'the header that carries the number (default x-request-number)',
  },
  exec: { type: 'string', value: 'COMMAND', help: 'what triggers a switch; once in the middle, or --every' },
  signal: {
    type: 'string',
    value: 'PID',
    help: "send a signal instead; PID, @FILE that holds it, or 'identified' (the newest --identify found)",
  },
  'signal-name': { type: 'string', value: 'NAME', help: 'default SIGUSR2' },
  every: { type: 'string', value: 'TIME', help: 'trigger so often; less than the duration' },
  'fail-if': {
    type: 'string',
    value: 'LIMITS',
    help: "exit 1 if one of them holds: 'p99>800,errorRate>0.01' (times in ms)",
  },
  'allow-lost': { type: 'boolean', help: 'requests that are lost, or never sent, are no failure' },
  report: { type: 'string', value: 'FILE.html', help: 'write a page of charts and tables about the run' },
  json: { type: 'boolean', help: 'lines of JSON instead of text; the last one is the result' },
} as const;
