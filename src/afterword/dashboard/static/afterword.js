// What the pages do beyond links and forms: they stay up to date, and save some steps. All of it
// works without this file, too.
(() => {
  "use strict";
  const EVERY = 2000, HIDDEN = 10000, AWAY = 5000;
  const $ = (id) => document.getElementById(id);
  const main = () => $("main");
  const on = (name, call) => document.addEventListener(name, call);
  const say = (text) => { $("status").textContent = text; };

  // ---------------------------------------------------------------- live pages

  let timer = 0, asking = false, quietUntil = 0;
  const paused = () => sessionStorage.getItem("afterword-paused") === "1";
  const later = (wait) => { clearTimeout(timer); timer = setTimeout(poll, wait); };

  async function poll() {
    const page = main(), url = page.dataset.live;
    if (!url || paused() || asking) return later(EVERY);
    // Rows stay under the pointer and under the finger: nothing is replaced while text is selected.
    if (String(getSelection()) || Date.now() < quietUntil) return later(EVERY);
    asking = true;
    try {
      await htmx.ajax("GET", url, { target: "#main", swap: "outerMorph", source: "#live",
        headers: { "If-None-Match": page.dataset.tag } });
    } finally { asking = false; }
    later(document.hidden ? HIDDEN : EVERY);
  }

  function away(lost, why) {
    $("live").classList.toggle("away", lost);
    say(lost ? why || "No answer from the server. Trying again." : "");
    if (lost) later(AWAY);
  }

  // What is not news stays out of the page. Who has to log in again is led there.
  on("htmx:after:request", (event) => {
    const { response, text } = event.detail.ctx, { status, raw } = response;
    if (raw.redirected || status === 401) location.reload();
    else if (status >= 400) away(true, !text.startsWith("<") && text);
    else { away(false); times(); return; }
    event.preventDefault();
  });
  on("htmx:before:swap", (event) => {
    for (const { fragment } of event.detail.tasks ?? []) keepState(fragment);
  });
  on("htmx:error", () => away(true));
  on("htmx:after:swap", renewed);

  // What the reader has opened, ticked or typed is theirs: a new version of the page keeps it.
  function keepState(fragment) {
    if (!fragment?.querySelectorAll) return;
    for (const each of fragment.querySelectorAll("details[id]")) {
      const mine = $(each.id);
      if (mine) each.open = mine.open;
    }
    const mine = main().querySelectorAll("details:not([id])");
    const theirs = fragment.querySelectorAll("details:not([id])");
    if (mine.length === theirs.length) theirs.forEach((each, i) => { each.open = mine[i].open; });
    const typed = $("q"), fresh = fragment.querySelector("#q");
    if (typed && fresh) fresh.setAttribute("value", typed.value);
  }

  function showLive() {
    const button = $("live");
    button.hidden = !main().dataset.live;
    button.setAttribute("aria-pressed", String(!paused()));
    button.querySelector(".word").textContent = paused() ? "Paused" : "Live";
  }
  function togglePause() {
    sessionStorage.setItem("afterword-paused", paused() ? "0" : "1");
    showLive();
    if (!paused()) later(0);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) later(0); });

  // ---------------------------------------------------------------- times

  // The clock of this machine may be wrong; the page knows the store's.
  let ahead = 0;
  function renewed() { ahead = Date.now() - main().dataset.now; times(); chosen(); reveal(); }

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  function span(seconds) {
    for (let i = 0; i < UNITS.length; i++) {
      const [size, unit] = UNITS[i];
      if (seconds < size) continue;
      const whole = Math.floor(seconds / size), rest = seconds % size;
      if (i >= 2 || whole >= 10 || rest < UNITS[i + 1][0]) return `${whole} ${unit}`;
      return `${whole} ${unit} ${Math.floor(rest / UNITS[i + 1][0])} ${UNITS[i + 1][1]}`;
    }
    return "0 s";
  }
  function times() {
    for (const each of document.querySelectorAll("time")) {
      const at = new Date(each.dateTime), away = (Date.now() - ahead - at) / 1000;
      const text = span(Math.abs(away));
      const shown = "short" in each.dataset ? text : away >= 0 ? `${text} ago` : `in ${text}`;
      if (each.textContent !== shown) each.textContent = shown;
      if (!each.title.includes("\n")) each.title += `\n${at.toLocaleString()}`;
    }
  }

  // ---------------------------------------------------------------- selection

  let last = null;
  const boxes = () => [...document.querySelectorAll('#selection input[name="id"]')];
  function chosen() {
    const all = $("all"), every = boxes();
    if (!all) return;
    const count = every.filter((each) => each.checked).length;
    all.hidden = false;
    all.checked = count > 0 && count === every.length;
    all.indeterminate = count > 0 && count < every.length;
    $("chosen").textContent = count ? `${count} selected:` : "Selected jobs:";
    for (const each of document.querySelectorAll("#selection .bar .button")) each.disabled = !count;
  }
  document.addEventListener("click", (event) => {
    const box = event.target.closest?.('#selection input[name="id"]');
    if (!box) return;
    const every = boxes(), from = every.indexOf(last), to = every.indexOf(box);
    if (event.shiftKey && from >= 0) {
      for (let i = Math.min(from, to); i <= Math.max(from, to); i++) every[i].checked = box.checked;
    }
    last = box;
    chosen();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "all") for (const each of boxes()) each.checked = event.target.checked;
    chosen();
  });
  document.addEventListener("pointerdown", () => { quietUntil = Date.now() + 700; });

  // ---------------------------------------------------------------- copying

  function reveal() {
    if (navigator.clipboard) for (const each of document.querySelectorAll("[data-copy]")) each.hidden = false;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); say("Copied."); }
    catch { say("The browser does not allow copying."); }
    setTimeout(() => say(""), 1500);
  });

  // ---------------------------------------------------------------- keys

  let prefix = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog[open]")) return;
    if (event.key === "?") $("shortcuts").showModal();
    else if (event.key === "p" && main().dataset.live) togglePause();
    else if (event.key === "g") prefix = Date.now();
    else if (event.key === "/") {
      if ($("q")) $("q").focus();
      else document.querySelector('.side nav a[href$="/jobs"]')?.click();
    } else if (Date.now() - prefix < 1500 && event.key >= "1" && event.key <= "9") {
      document.querySelectorAll(".side nav a")[Number(event.key) - 1]?.click();
    } else return;
    event.preventDefault();
  });

  function start() {
    showLive();
    document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    $("live").addEventListener("click", togglePause);
    $("help").hidden = false;
    $("help").addEventListener("click", () => $("shortcuts").showModal());
    renewed();
    setInterval(times, 1000);
    document.querySelector("form[data-continue]")?.requestSubmit();
    later(EVERY);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
