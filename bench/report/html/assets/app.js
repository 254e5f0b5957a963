// Starts the page: its data, its views by address, light and dark.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const TABS = [["overview", "Overview"], ["cases", "Cases"], ["plots", "Plots"], ["explain", "Explain"]];
  const VIEWS = { overview: app.showOverview, cases: app.showCases, case: app.showCase, plots: app.showPlots, explain: app.showExplain };
  const THEMES = ["auto", "light", "dark"];
  let leaving = [];

  app.onLeave = (action) => leaving.push(action);

  let hiding = 0;
  app.toast = (text) => {
    const toast = document.getElementById("toast");
    toast.textContent = text;
    toast.classList.add("shown");
    clearTimeout(hiding);
    hiding = setTimeout(() => toast.classList.remove("shown"), 3000);
  };

  let showing = 0;
  async function show(page, focus) {
    showing += 1;
    const mine = showing;
    const route = app.parse(location.hash);
    for (const action of leaving.splice(0)) action();
    document.body.dataset.ready = "no";
    const main = document.getElementById("main");
    const view = document.createElement("div");
    view.className = `view ${route.view}`;
    main.replaceChildren(view);
    for (const link of document.querySelectorAll("#tabs a")) {
      const current = link.dataset.view === route.view || (route.view === "case" && link.dataset.view === "cases");
      if (current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    try {
      const drawn = VIEWS[route.view](page, route, view);
      const heading = view.querySelector("h1");
      document.title = heading && route.view !== "overview" ? `${heading.textContent} \u00b7 ${page.title}` : page.title;
      if (focus) {
        main.focus({ preventScroll: true });
        scrollTo(0, 0);
      }
      await drawn;
    } finally {
      if (mine === showing) document.body.dataset.ready = "yes"; // not for a view that was left while it was drawn
    }
  }

  function themes() {
    const button = document.getElementById("theme");
    let kept = "auto";
    try {
      kept = localStorage.getItem("trtbench-theme") || "auto";
    } catch (error) {
      // a browser that stores nothing for files
    }
    const set = (theme) => {
      document.documentElement.dataset.theme = theme;
      button.textContent = `Theme: ${theme}`;
      try {
        localStorage.setItem("trtbench-theme", theme);
      } catch (error) {
        // as above
      }
    };
    set(THEMES.includes(kept) ? kept : "auto");
    button.addEventListener("click", () => {
      set(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
    });
  }

  // A page that is written again while a run goes on loads itself again, unless something in it has the keyboard.
  function refresh(seconds) {
    setInterval(() => {
      const focus = document.activeElement;
      const busy = focus && focus !== document.body && focus.id !== "main";
      if (!busy && !document.hidden && !String(getSelection())) location.reload();
    }, seconds * 1000);
  }

  function start() {
    const page = app.open(JSON.parse(document.getElementById("data").textContent));
    app.page = page;
    document.getElementById("brand").append(h("a", { href: app.address("overview") }, "trtbench"));
    document.getElementById("tabs").append(...TABS.map(([view, title]) => h("a", { href: app.address(view), "data-view": view }, title)));
    document.getElementById("skip").addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("main").focus();
    });
    document.getElementById("foot").append(
      h("p", null, "Times are medians with 95% intervals; the process is the unit of evidence. ",
        "\u2021 no card or machine is known to have run both sides: how two of them differ is not in the interval."),
      h("p", null, `Made ${app.when(page.made)} UTC by trtbench ${page.version}. This page requests nothing from anywhere.`));
    themes();
    addEventListener("hashchange", () => show(page, true));
    if (page.refresh) refresh(page.refresh);
    show(page, false);
  }

  Object.assign(app, { start });
  if (typeof document !== "undefined") start();
})(globalThis.trtbench);
