// Keys, and what is new. Everything works without it.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const one = (selector) => document.querySelector(selector);
  const main = at("main");
  const keys = at("keys");
  const all = (selector) => [...document.querySelectorAll(selector)];
  const handle = (item) => (item.matches("a, summary") ? item : item.querySelector("a[href], summary"));

  // Focuses the next item (step 1) or the one before (-1).
  const move = (selector, step) => {
    const items = all(selector).filter((item) => handle(item)?.checkVisibility());
    const here = items.findIndex((item) => item.contains(document.activeElement));
    const item = items[here < 0 && step < 0 ? items.length - 1 : here + step];
    if (item) handle(item).focus();
    return item;
  };
  const unfold = (item) => {
    const details = item?.closest("details") ?? item?.querySelector("details");
    if (details) details.open = true;
  };
  const unfoldTarget = () => unfold(at(location.hash.slice(1)));

  const actions = {
    j: () => move("[data-item]", 1),
    k: () => move("[data-item]", -1),
    e: () => unfold(move(".failed", 1)),
    "[": () => one("a[rel=prev]")?.click(),
    "]": () => one("a[rel=next]")?.click(),
    "/": () => one("[data-filter]")?.focus(),
    "?": () => keys.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (event.target.closest("input, select") || !Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });
  // A login that leads on loses the hash.
  const lead = one("meta[http-equiv]");
  if (lead && location.hash) location.replace(lead.content.slice(7) + location.hash);
  addEventListener("hashchange", unfoldTarget);
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  unfoldTarget();

  // A browser opens a broken stream again, but not a refused one.
  const follow = (after, take) => {
    const source = new EventSource("/ui/live?after=" + after);
    source.addEventListener("call", (event) => {
      after = event.lastEventId;
      take(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(follow, 3000, after, take);
    });
  };

  const log = one("[data-calls]");
  const show = ({ run, persona, number, tool, ok, latencyMs }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    item.dataset.item = "";
    item.className = ok ? "" : "failed";
    link.href = `/ui/runs/${run}${log.dataset.query}#call-${number}`;
    link.textContent = `${persona} · ${number} · ${tool}`;
    item.append(link, ` ${ok ? log.dataset.ok : log.dataset.failed}, ${latencyMs} ms`);
    log.prepend(item);
    while (log.children.length > 200) log.lastElementChild.remove();
  };
  if (log) follow(main.dataset.live, show);

  // Leaves open what is open.
  const refresh = async () => {
    const answer = await fetch(location.pathname + location.search).catch(() => null);
    const page = new DOMParser().parseFromString(answer?.ok ? await answer.text() : "", "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) return;
    const open = all("details[open][id]");
    const { id: focus } = document.activeElement.closest("[id]") ?? main;
    main.replaceChildren(...fresh.childNodes);
    for (const { id } of open) unfold(at(id));
    if (focus !== "main") handle(at(focus) ?? main).focus();
    if (!fresh.dataset.liveRun) delete main.dataset.liveRun;
  };
  let timer;
  const refreshIn = (pause) => {
    clearTimeout(timer);
    timer = setTimeout(() => refresh().then(() => main.dataset.liveRun && refreshIn(10000)), pause);
  };
  if (main.dataset.liveRun) {
    refreshIn(10000);
    follow("", ({ run }) => run === main.dataset.liveRun && refreshIn(300));
  }
})();
