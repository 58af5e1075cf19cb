// `handover/tls`: renews certificates of TLS servers. Loaded only when used.

export { HandoverError, type HandoverErrorCode } from './errors.js';
export {
  type CertificateFiles,
  type CertificatePair,
  type Certificates,
  type Pem,
  reloadCertificates,
} from './protocols/tls/certificates.js';
