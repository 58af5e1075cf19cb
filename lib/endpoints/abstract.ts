// A Unix listener with a name in Linux' abstract namespace (unix(7)): `abstract:name`. It has no file, and its last descriptor
// ends it.
import { bindListener } from '../fd/index.js';
import { COMMON_OPTIONS, type EndpointKind, pick } from './endpoint.js';

const SCHEME = 'abstract:';

export const abstract: EndpointKind = {
  name: 'abstract',
  transport: 'stream',
  key: 'abstract',
  options: [],
  syntax: `${SCHEME}NAME`,
  parse: (text) =>
    text.startsWith(SCHEME) && text.length > SCHEME.length ? { abstract: text.slice(SCHEME.length) } : undefined,
  toEndpoint: (address) => {
    const { abstract: name = '' } = address;
    return { kind: 'abstract', canonical: SCHEME + name, bind: { abstract: name, ...pick(address, COMMON_OPTIONS) } };
  },
  bind: (endpoint) => ({ fd: bindListener(endpoint.bind) }),
  isOne: ({ family, type, listening, local }) =>
    family === 'unix' && type === 'stream' && listening && local !== undefined && 'abstract' in local,
  addressOf: (local) => ('abstract' in local ? { abstract: local.abstract } : {}),
  closest: (all, { bind }) => all.find(({ local }) => local && 'abstract' in local && local.abstract === bind.abstract),
  isOfMany: () => false,
  describe: (local) => ('abstract' in local ? `\0${local.abstract}` : ''),
  forNode: ({ abstract: name }) => ({ path: `\0${name}` }),
};
