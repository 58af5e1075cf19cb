// A TCP listener: `tcp://host:port`.
import type { EndpointKind } from './endpoint.js';
import { ipKind, isIp, overlaps } from './ip.js';

export const tcp: EndpointKind = {
  ...ipKind('tcp'),
  transport: 'stream',
  isOne: ({ type, listening, local }) => type === 'stream' && listening && isIp(local),
  isInTheWay: (local, { bind }) => overlaps(local, bind),
};
