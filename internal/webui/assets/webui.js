// Keeps an open page up to date: <div data-live="/events" data-fragment="/fragment">.
// The event stream says that something changed; the fragment is fetched and the
// page changed where it differs, so that what a person has opened stays open.
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
  const tick = () => {
    for (const node of document.querySelectorAll("time[data-ago]")) {
      const text = words((Date.now() - Date.parse(node.dateTime)) / 1000);
      if (node.textContent !== text) node.textContent = text;
    }
  };
  setInterval(tick, 1000);

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
    stream.onopen = () => { clearInterval(poll); poll = 0; };
    stream.onerror = () => {
      show(false);
      if (!poll) poll = setInterval(refresh, 5000);
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
  };
  connect();
})();
