// `handover/tls`: what servers with TLS need beside the handover. Loaded only when used.

export {
  type CertificateFiles,
  type CertificatePair,
  type Certificates,
  type Pem,
  reloadCertificates,
} from './connections/tls-certificates.js';
export { HandoverError, type HandoverErrorCode } from './errors.js';
