// A bound UDP socket: `udp://host:port`.
import type { EndpointKind } from './endpoint.js';
import { ipKind, isIp } from './ip.js';

export const udp: EndpointKind = {
  ...ipKind('udp'),
  transport: 'datagram',
  // Node binds an unbound socket to a random port (FACTS N3), and a connected one cannot send to an address (N12).
  isOne: ({ type, local, peer }) => type === 'dgram' && !peer && isIp(local) && local.port !== 0,
};
