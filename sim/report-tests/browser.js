// A browser without a display, and pages that are watched: every request and every error counts.

import { chromium } from "playwright-core";
import { join } from "node:path";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Starts the browser. Its profile is an empty folder that is removed afterwards. */
export const start = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args: FLAGS });

/** Opens a file; returns the page, its requests, its errors and how long it took, in milliseconds. */
export async function open(browser, file, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const [requests, errors] = [[], []];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const began = performance.now();
  await page.goto("file://" + file, { waitUntil: "load" });
  // Until the first frame is there.
  if (options.javaScriptEnabled !== false) {
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  }
  const took = performance.now() - began;
  return { page, requests, errors, took, close: () => context.close() };
}

/** Keeps a picture of the page, or of a part of it. */
export const shoot = (part, name, options = {}) =>
  part.screenshot({ path: join(process.env.SHOTS, name + ".png"), ...options });

/** How far the page reaches beyond its window, sideways. */
export const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Brings a section into sight and waits until its script has filled it. */
export async function near(page, section, filled) {
  await page.locator(section).scrollIntoViewIfNeeded();
  await page.locator(filled).first().waitFor({ timeout: 20_000 });
}
