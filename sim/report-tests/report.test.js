// What a reader does with a report, in a real browser. No test measures time but the last one, which
// only prints it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { near, open, overflow, shoot, start } from "./browser.js";
import { mixed, sim, thousand } from "./fixtures.js";

let browser;
let file;

before(async () => {
  const folder = mixed();
  file = join(folder, "report.html");
  sim("report", folder);
  browser = await start();
});

after(() => browser.close());

/** Opens the report, lets `visit` do what it wants, and sees to it that nothing was loaded or broke. */
async function visit(options, visitor) {
  const opened = await open(browser, file, options);
  await visitor(opened.page);
  assert.deepEqual(opened.errors, []);
  assert.deepEqual(opened.requests.filter((url) => !url.startsWith("data:")), ["file://" + file], "one request");
  await opened.close();
}

const column = (page, n) =>
  page.locator("#runs tbody tr").evaluateAll((rows, n) => rows.map((row) => row.cells[n].textContent), n);

test("a page asks for itself and for nothing else, and is no wider than its window", () =>
  visit({}, async (page) => {
    await page.locator("#runs tbody a", { hasText: "netherite-1" }).click();
    await near(page, "#space-time", "#space-time-view svg");
    await near(page, "#compare", "#compare-view table");
    assert.equal(await overflow(page), 0);
    await shoot(page, "desktop", { fullPage: true });
  }));

test("a press on a heading sorts, a second one the other way, and numbers as numbers", () =>
  visit({}, async (page) => {
    const headings = await page.locator("#runs thead th").allTextContents();
    const at = headings.indexOf("p50 ms");
    const button = page.locator("#runs thead th").nth(at).locator("button");
    for (const [sign, said] of [[1, "ascending"], [-1, "descending"]]) {
      await button.click();
      const values = (await column(page, at)).map(Number);
      assert.deepEqual(values, [...values].sort((one, other) => sign * (one - other)));
      assert.equal(await page.locator("#runs thead th").nth(at).getAttribute("aria-sort"), said);
    }
  }));

test("the picker shows another run, the filter leaves those with its words, and links lead to a run", () =>
  visit({}, async (page) => {
    await page.selectOption("#run-pick", { label: await page.locator("#run-pick option").nth(2).textContent() });
    const heading = page.locator("#run-view h3");
    const first = await heading.textContent();
    await page.click("#run-next");
    assert.notEqual(await heading.textContent(), first);
    await page.fill("#run-filter", "sql-server seed 2");
    assert.equal(await page.locator("#run-pick option").count(), 1);
    assert.match(await heading.textContent(), /^sql-server .*seed 2$/);
    await page.fill("#run-filter", "");
    await page.locator("#runs tbody a", { hasText: "with-crash" }).click();
    assert.match(await heading.textContent(), /crash:host=1/);
    assert.ok((await page.locator("#run-view .plot canvas").count()) >= 4);
    assert.match(await page.locator("#run-view").textContent(), /sim run --spec runs\/with-crash\/spec.toml/);
    await shoot(page.locator("#run"), "one-run");
  }));

test("two runs are compared, and change places", () =>
  visit({}, async (page) => {
    await near(page, "#compare", "#compare-view table");
    const row = async () => {
      const cells = page.locator("#compare-view [aria-label='Numbers of both runs'] tbody tr").filter({ hasText: "p50 ms" }).first();
      return cells.locator("td").allTextContents();
    };
    const [a, b, difference] = (await row()).map(Number);
    assert.ok(Math.abs(b - a - difference) < 0.11, `${b} - ${a} = ${difference}`);
    await page.click("#compare-swap");
    const [c, d] = (await row()).map(Number);
    assert.deepEqual([c, d], [b, a]);
    assert.match(await page.locator("#compare-view").textContent(), /paired comparison/);
    await shoot(page.locator("#compare"), "compare");
  }));

test("the space-time view zooms, moves, folds, and tells what a message is", () =>
  visit({}, async (page) => {
    await page.locator("#runs tbody a", { hasText: "netherite-1" }).click();
    await near(page, "#space-time", "#space-time-view svg");
    const arrows = page.locator("#space-time-view .arrow");
    await page.locator("#space-time-view [title='Show everything']").click();
    const all = await arrows.count();
    assert.equal(all, 80, "each message and its answer");
    assert.equal(await page.locator("#space-time-view .fault").count(), 1);
    await shoot(page.locator("#space-time"), "space-time");
    await page.locator("#space-time-view [title='Zoom in']").click();
    assert.ok((await arrows.count()) < all);
    await page.locator("#space-time-view .arrow .hit").nth(3).dispatchEvent("click");
    assert.match(await page.locator("#space-time-view .told").textContent(), /^Message .* sent at 2\.\d+ s, under way for/);
    await page.locator("#space-time-view summary", { hasText: "as a table" }).click();
    assert.ok((await page.locator("#space-time-view tbody tr").count()) > 10);
    // A run without a trace says how to get one.
    await page.locator("#runs tbody a", { hasText: "netherite-2" }).click();
    assert.match(await page.locator("#space-time-view").textContent(), /Runs with one/);
  }));

test("a plot is zoomed by dragging, and its neighbours show the same span", () =>
  visit({}, async (page) => {
    await page.locator("#runs tbody a", { hasText: "with-crash" }).click();
    const plots = page.locator("#run-view figure.plotted");
    const span = (n) => plots.nth(n).evaluate((figure) => figure.zoomed());
    await plots.nth(1).locator(".u-over").scrollIntoViewIfNeeded();
    const before = await span(1);
    const box = await plots.nth(1).locator(".u-over").boundingBox();
    await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 40, { steps: 5 });
    await page.mouse.up();
    const zoomed = await span(1);
    assert.ok(zoomed[0] > before[0] && zoomed[1] < before[1], `${before} to ${zoomed}`);
    assert.deepEqual(await span(2), zoomed);
    await plots.nth(2).locator("[title='Show everything']").click();
    assert.deepEqual(await span(1), before);
  }));

test("everything can be done with the keyboard", () =>
  visit({}, async (page) => {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    // Tab until something has the focus, as a person would.
    const until = async (wanted) => {
      for (let n = 0; n < 400; n += 1) {
        if (await page.evaluate((wanted) => document.activeElement.matches(wanted), wanted)) return;
        await page.keyboard.press("Tab");
      }
      assert.fail("no way to " + wanted);
    };
    await until("#runs thead button");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("#runs th[aria-sort]").count(), 1);
    await until("#run-pick");
    await page.keyboard.press("ArrowDown");
    assert.match(page.url(), /#run-1$/);
    await until("#run-view .plot");
    const zoomed = () => page.locator("#run-view figure.plotted").first().evaluate((figure) => figure.zoomed());
    const before = await zoomed();
    await page.keyboard.press("+");
    const after = await zoomed();
    assert.ok(after[1] - after[0] < (before[1] - before[0]) * 0.6, `${before} to ${after}`);
    await page.keyboard.press("0");
    assert.deepEqual(await zoomed(), before);
    await until("#compare-b");
    await page.keyboard.press("ArrowDown");
    await until("#compare-swap");
    await page.keyboard.press("Enter");
  }));

test("a phone shows all of it without going sideways", () =>
  visit({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }, async (page) => {
    await page.locator("#runs tbody a", { hasText: "netherite-1" }).tap();
    await near(page, "#space-time", "#space-time-view svg");
    await near(page, "#compare", "#compare-view table");
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
    assert.equal(await overflow(page), 0);
    assert.equal(await page.evaluate(() => document.documentElement.clientWidth), 390);
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = false; }));
    await shoot(page, "phone", { fullPage: true });
  }));

/** The lightness of a colour `rgb(...)`, from 0 to 255. */
const lightness = (color) => {
  const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
  return 0.299 * red + 0.587 * green + 0.114 * blue;
};

test("the page and its figures go dark, and text stays readable", () =>
  visit({ colorScheme: "dark" }, async (page) => {
    const [paper, ink, figure, text] = await page.evaluate(() => [
      getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
      getComputedStyle(document.querySelector("#results svg polygon")).fill,
      getComputedStyle(document.querySelector("#results svg text")).fill,
    ]);
    assert.ok(lightness(paper) < 60 && lightness(ink) > 190, `${ink} on ${paper}`);
    assert.ok(lightness(figure) < 60 && lightness(text) > 150, `${text} on ${figure}`);
    await near(page, "#space-time", "#space-time-view");
    await near(page, "#compare", "#compare-view table");
    await shoot(page, "dark", { fullPage: true });
    // The same page turns light while it is open.
    await page.emulateMedia({ colorScheme: "light" });
    assert.ok(lightness(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)) > 200);
  }));

test("without scripts figures, tables, bars and commands are there", () =>
  visit({ javaScriptEnabled: false }, async (page) => {
    assert.equal(await page.locator("#runs tbody tr").count(), 7);
    assert.ok(await page.locator("#results figure svg").first().isVisible());
    assert.ok(await page.locator("#breakdown .bar").first().isVisible());
    assert.equal(await page.locator("#run").isVisible(), false);
    const written = page.locator("#written details[id^='run-']");
    assert.equal(await written.count(), 7);
    await written.first().locator("summary").first().click();
    assert.ok(await written.first().locator("figure svg").isVisible());
    assert.match(await written.first().textContent(), /sim run --spec runs\//);
    await shoot(page, "without-scripts", { fullPage: true });
  }));

test("a report of a thousand runs opens, sorts and finds a run", async () => {
  const folder = thousand();
  const said = sim("report", folder);
  const large = join(folder, "report.html");
  const times = [];
  for (let n = 0; n < 3; n += 1) {
    const { page, errors, took, close } = await open(browser, large);
    times.push(Math.round(took));
    if (n === 0) {
      assert.equal(await page.locator("#runs tbody tr").count(), 1000);
      await page.locator("#runs thead button", { hasText: "seed" }).click();
      await page.locator("#runs thead button", { hasText: "seed" }).click();
      assert.equal(await page.locator("#runs tbody a").first().textContent(), "runs/999");
      await page.fill("#run-filter", "seed 777");
      assert.match(await page.locator("#run-view h3").textContent(), /seed 777/);
    }
    assert.deepEqual(errors, []);
    await close();
  }
  console.log(`1,000 runs: opened in ${times.join(", ")} ms; ${said.trim().split(": ").at(-1)}`);
});
