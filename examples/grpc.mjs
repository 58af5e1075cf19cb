// gRPC: @grpc/grpc-js listens by itself, so handover/auto hands it over. Its connections are HTTP/2 and do not move: each gets
// a GOAWAY, its streams finish in the old process, and its client's next call goes to the new one.
//
//   node examples/grpc.mjs            PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

// The same as --import handover/auto. Its options: HANDOVER_AUTO.
import 'handover/auto';
import { setTimeout as pause } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';

// What protoc makes of `service Counter { rpc Double(…) returns (…); rpc Count(…) returns (stream …); }`, with JSON for bytes.
const serialize = (value) => Buffer.from(JSON.stringify(value));
const deserialize = (bytes) => JSON.parse(bytes);
const method = (name, responseStream) => ({
  path: `/examples.Counter/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize,
});
const Counter = { double: method('Double', false), count: method('Count', true) };

const server = new Server();
server.addService(Counter, {
  double({ request }, callback) {
    callback(null, { pid: process.pid, value: request.value * 2 });
  },
  async count(call) {
    for (let value = 0; value < call.request.to; value++) {
      call.write({ pid: process.pid, value });
      await pause(20);
    }
    call.end();
  },
});

const port = Number(process.env.PORT ?? 8080);
server.bindAsync(`0.0.0.0:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
