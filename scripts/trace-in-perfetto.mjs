// Opens traces in Perfetto, in a browser without a display, and asks its trace processor what it has read.
// Usage: node trace-in-perfetto.mjs FOLDER_OF_THE_UI FOLDER_FOR_PICTURES TRACE...
// Started by trace-in-perfetto.sh.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, extname, join } from "node:path";

const require = createRequire(join(import.meta.dirname, "../sim/report-tests/package.json"));
const { chromium } = require("playwright-core");
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
const [ui, pictures, ...traces] = process.argv.slice(2);

/** Serves the files of the user interface to this machine alone. */
function serve() {
  const server = createServer((request, response) => {
    const path = join(ui, decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    try {
      const bytes = readFileSync(path);
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

/** What a trace has, by the phases of its events. */
function written(trace) {
  const count = {};
  for (const event of JSON.parse(readFileSync(trace, "utf8")).traceEvents) {
    count[event.ph] = (count[event.ph] ?? 0) + 1;
  }
  return count;
}

/** What Perfetto has read. */
const read = (page) =>
  page.evaluate(async () => {
    const number = async (text) => {
      const result = await globalThis.app.trace.engine.query(`select ${text} as n`);
      return Number(result.firstRow({ n: 0 }).n);
    };
    return {
      slices: await number("(select count(*) from slice)"),
      flows: await number("(select count(*) from flow)"),
      errors: await number("(select ifnull(sum(value), 0) from stats where severity in ('error', 'data_loss'))"),
      // Parts lie in what they are parts of, and nothing lies deeper: neighbours would, if they overlapped.
      // What takes no time is drawn below what is at the same instant.
      deeper: await number("(select count(*) from slice where depth > 1 and dur > 0)"),
    };
  });

const server = await serve();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args: FLAGS });
let wrong = 0;
for (const trace of traces) {
  const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
  await page.goto(`http://127.0.0.1:${server.address().port}/index.html`);
  await page.locator("input[type=file]").first().waitFor({ state: "attached" });
  await page.locator("input[type=file]").first().setInputFiles(trace);
  await page.waitForFunction(() => globalThis.app?.trace?.engine !== undefined, null, { timeout: 120_000 });
  // This build of the user interface also looks for a server of its own, and says that there is none.
  await page.waitForTimeout(3_000);
  await page.keyboard.press("Escape");
  const [has, found] = [written(trace), await read(page)];
  const counts = found.slices === (has.X ?? 0) && found.flows === (has.s ?? 0);
  const same = counts && found.errors === 0 && found.deeper === 0;
  wrong += same ? 0 : 1;
  const told = `${found.slices} of ${has.X ?? 0} slices (${found.deeper} too deep), ${found.flows} of ${has.s ?? 0} ` +
    `flows, ${found.errors} errors`;
  console.log(`${same ? "as written" : "DIFFERS"}: ${basename(trace)}: ${told}`);
  await page.waitForTimeout(1_000);
  await page.screenshot({ path: join(pictures, basename(trace, ".json") + "-perfetto.png") });
  await page.close();
}
await browser.close();
server.close();
process.exit(wrong === 0 ? 0 : 1);
