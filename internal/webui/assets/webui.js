// Keeps an open page up to date: <div data-live="/events" data-fragment="/fragment">.
// Each event of the stream, a message or "changed", says that there is news; the fragment
// is fetched and the page changed where it differs, so that what a person has opened
// stays open. Counts <time data-until> down, and tells in [data-readout] of a figure what
// the pointer is at: the data-label of the nearest element that has one.
"use strict";
(() => {
  const english = document.documentElement.lang === "en";

  const words = (seconds) => {
    const units = [[86400, "天前", "d ago"], [3600, "小时前", "h ago"], [60, "分钟前", "min ago"], [1, "秒前", "s ago"]];
    for (const [span, zh, en] of units) {
      if (seconds >= span) return Math.floor(seconds / span) + " " + (english ? en : zh);
    }
    return english ? "just now" : "刚刚";
  };
  const left = (ms) => {
    const seconds = Math.max(0, Math.ceil(ms / 1000)), two = (n) => String(n).padStart(2, "0");
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? minutes + ":" + two(seconds % 60) : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":" + two(seconds % 60);
  };
  const tick = () => {
    for (const node of document.querySelectorAll("time[data-until]")) {
      const text = left(Date.parse(node.dateTime) - Date.now());
      if (node.textContent !== text) node.textContent = text;
    }
    for (const node of document.querySelectorAll("time[data-ago]")) {
      const text = words((Date.now() - Date.parse(node.dateTime)) / 1000);
      if (node.textContent !== text) node.textContent = text;
    }
  };
  setInterval(tick, 1000);

  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  let pointed = null; // the figure that tells, and what it tells while nothing is pointed at
  const quiet = () => {
    if (!pointed) return;
    pointed.node.textContent = pointed.text;
    pointed = null;
  };
  document.addEventListener("pointerover", (event) => {
    const at = event.target.closest("[data-label]"), node = at && at.closest("figure")?.querySelector("[data-readout]");
    if (!node) return quiet();
    if (pointed?.node !== node) {
      quiet();
      pointed = { node, text: node.textContent };
    }
    node.textContent = at.dataset.label;
  });

  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName &&
    (a.nodeType !== 1 || a.getAttribute("data-key") === b.getAttribute("data-key"));

  const attributes = (from, to) => {
    for (const { name, value } of to.attributes) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of [...from.attributes]) {
      // What a person opened stays open.
      if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
    }
  };

  const morph = (from, to) => {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    const revised = from.hasAttribute("data-rev") && from.getAttribute("data-rev") !== to.getAttribute("data-rev");
    attributes(from, to);
    children(from, to);
    if (revised) {
      from.classList.remove("changed");
      void from.offsetWidth; // restarts the animation
      from.classList.add("changed");
    }
  };

  const children = (from, to) => {
    const keyed = new Map();
    for (const child of from.children) {
      if (child.hasAttribute("data-key")) keyed.set(child.getAttribute("data-key"), child);
    }
    let at = from.firstChild;
    for (const next of [...to.childNodes]) {
      const key = next.nodeType === 1 ? next.getAttribute("data-key") : null;
      const known = key !== null ? keyed.get(key) : null;
      if (known && known.nodeName === next.nodeName) {
        if (known !== at) from.insertBefore(known, at);
        else at = at.nextSibling;
        morph(known, next);
      } else if (key === null && at && same(at, next)) {
        const here = at;
        at = at.nextSibling;
        morph(here, next);
      } else {
        if (key !== null) next.classList.add("fresh");
        from.insertBefore(next, at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  const live = document.querySelector("[data-live]");
  if (!live) return;
  const state = document.querySelector("[data-live-state]");
  const show = (on) => {
    if (!state) return;
    state.hidden = false;
    state.dataset.state = on ? "on" : "off";
    state.textContent = on ? state.dataset.textUp : state.dataset.textDown;
  };

  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(live.dataset.fragment + location.search, { cache: "no-store" });
      if (answer.status === 401) { // the page itself leads to the login
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error("HTTP " + answer.status);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      children(live, next.body);
      tick();
      show(true);
    } catch {
      show(false);
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  };

  let poll = 0;
  const connect = () => {
    const stream = new EventSource(live.dataset.live);
    stream.addEventListener("changed", refresh);
    stream.onmessage = refresh;
    stream.onopen = () => { clearInterval(poll); poll = 0; };
    stream.onerror = () => {
      show(false);
      if (!poll) poll = setInterval(refresh, 5000);
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
  };
  connect();
})();
