// An FTP server whose every transfer listens at a port of its own: PORT, PASSIVE_MIN, PASSIVE_MAX.
import { FtpSrv } from 'ftp-srv';

const { PORT, ROOT, PASSIVE_MIN, PASSIVE_MAX } = process.env;
const server = new FtpSrv({
  url: `ftp://127.0.0.1:${PORT}`,
  pasv_url: '127.0.0.1',
  pasv_min: Number(PASSIVE_MIN),
  pasv_max: Number(PASSIVE_MAX),
  anonymous: true,
});
server.on('login', (_, resolve) => resolve({ root: ROOT }));
await server.listen();
