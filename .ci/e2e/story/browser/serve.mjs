// Serves the page of the story to a headless Chromium, and prints what it tells.
//
// node serve.mjs ADDRESS PID SECONDS LEASE: publishes to the server (PID) for so many seconds under so long a lease.
// STORY_TRUST is the directory with the tokens and the hash of the server's key; without it neither is needed.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

const [server, pid, seconds, lease] = process.argv.slice(2);
const trust = process.env.STORY_TRUST;

const html = '<!doctype html><title>story</title><script src="story.js"></script>';

const site = createServer(async (request, response) => {
  const body = await text(request);
  const url = new URL(request.url, "http://page");
  switch (url.pathname) {
    case "/":
      response.setHeader("content-type", "text/html").end(html);
      break;
    case "/story.js":
      response.setHeader("content-type", "text/javascript").end(readFileSync("story.js"));
      break;
    case "/token": // as a site gives them to who has logged in
      response.end(readFileSync(`${trust}/${url.searchParams.get("name")}.jwt`, "utf8").trim());
      break;
    case "/line":
      console.log(body);
      response.end();
      break;
    case "/stop": // a page cannot
      process.kill(Number(pid), "SIGTERM");
      response.end();
      break;
    case "/end": // with what was not as expected, if anything
      console.error(body);
      process.exitCode = body ? 1 : 0;
      response.end();
      browser.removeAllListeners("exit").kill();
      site.close();
      site.closeAllConnections();
      break;
    default:
      response.writeHead(404).end();
  }
});
await new Promise((listening) => site.listen(0, "127.0.0.1", listening));

const query = new URLSearchParams({ server, seconds, lease, ...(trust && { trust: "yes" }) });
const page = `http://127.0.0.1:${site.address().port}/?${query}`;
const browser = spawn("chromium", [
  "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
  // It has no option for an authority; a key that it is told counts as vouched for.
  ...(trust ? [`--ignore-certificate-errors-spki-list=${readFileSync(`${trust}/tls.spki`, "utf8").trim()}`] : []),
  // Chromium does not run its sandbox as root.
  ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
  `--user-data-dir=${mkdtempSync("profile-")}`, "--enable-logging=stderr", page,
], { stdio: ["ignore", "ignore", "pipe"] });
// It complains about much that a machine without a screen does not have; of interest is what the page is told.
createInterface(browser.stderr).on("line", (line) => line.includes("CONSOLE") && console.error(line));
browser.on("error", (refused) => { throw refused; });
browser.on("exit", (status) => { throw new Error(`the browser exited with ${status}`); });
