// G1, G2, G3: servers without a line of this package hand over under load.
import { describe, expect, it } from 'vitest';
import { boot, type Kind, useApps } from '../handover/apps.js';
import { Datagrams, Load, loadOf, selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { preload, replace, terminate } from './preloaded.js';

expectNoLeaks();
const apps = useApps();

const server = (kind: Kind, port: number) =>
  boot(
    async (inside, kind, port, tls) => {
      const server = inside.create(kind, tls);
      if (kind === 'udp4') server.bind(port, '127.0.0.1');
      else server.listen(port, '127.0.0.1');
    },
    kind,
    port,
    kind === 'https' || kind === 'h2' ? selfSigned() : {},
  );

describe('G1, G2: two handovers under load: every request gets its whole, right answer', () => {
  it.each<Kind>(['http', 'https', 'h2c', 'h2', 'net'])('%s', async (kind) => {
    const port = freePort();
    const { chain, first } = await preload(apps, server(kind, port));
    await first.said('handover:in-charge');
    const { load, close } = loadOf(kind, { port, host: '127.0.0.1' });
    let app = first;
    for (const generation of [2, 3]) {
      await load.answered(app.pid, 20);
      app = await replace(chain, app, generation);
      expect(await app.said('handover:listen')).toMatchObject({ origin: 'inherited' });
    }
    await load.answered(app.pid, 20);
    await load.stop();
    close();
    expect(load.failures).toEqual([]);
    expect(load.answers.size).toBe(3);
    await terminate(app);
  });

  it('UDP: every datagram is answered', async () => {
    const port = freePort();
    const { chain, first } = await preload(apps, server('udp4', port));
    await first.said('handover:in-charge');
    const client = new Datagrams('udp4', port, '127.0.0.1');
    const load = new Load().loop(() => client.ask());
    await load.answered(first.pid, 20);
    const second = await replace(chain, first, 2);
    await load.answered(second.pid, 20);
    await load.stop();
    client.close();
    expect(load.failures).toEqual([]);
    await terminate(second);
  });
});
