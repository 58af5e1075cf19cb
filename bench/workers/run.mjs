// `handover run`, as its command line.
import { run } from '../../dist/cli/run.js';

process.exit(await run(process.argv.slice(2)));
