// What profilers saw of one case: the parts of an inference, its timeline, kernels, copies and layers.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h, s } = app;
  const MEANINGS = {
    kernels: "a kernel runs on the GPU",
    copies: "only a copy or a memset runs",
    launch: "the GPU is idle until its next work is launched and starts",
    wait: "the GPU is idle while the host waits for it",
    tail: "after the last work on the GPU",
    operators: "the calling thread is in an operator",
    threads: "only other threads are in one",
    python: "no operator runs: Python, and code that the profiler does not see",
    unexplained: "no event of the profile explains it",
  };

  // The places of a case's profiles in the table of profiles.
  function profilesOf(page, place) {
    if (!page.profilesByCase) {
      page.profilesByCase = new Map();
      page.profiles.column("places").forEach((places, number) => {
        for (const each of places) page.profilesByCase.set(each, [...(page.profilesByCase.get(each) || []), number]);
      });
    }
    return page.profilesByCase.get(place) || [];
  }

  // The section of a case's page.
  function profileOf(page, place, row) {
    const numbers = profilesOf(page, place);
    if (!numbers.length) return missing(row);
    return numbers.map((number) => oneProfile(page, number));
  }

  function missing(row) {
    const command = row.rerun ? row.rerun.replace(/^trtbench run /, "trtbench profile ") : "trtbench profile SUITE";
    return [h("p", { class: "empty" }, "No profile lies beside this run. What would fill this: the timeline of one inference, its kernels and copies."),
      h("div", { class: "command" }, h("code", null, command), h("button", { type: "button", onclick: () => app.copy(command, "command") }, "Copy"))];
  }

  function oneProfile(page, number) {
    const row = page.profiles.row(number);
    const parts = Object.keys(MEANINGS).filter((name) => row[name]);
    const lanes = app.lanesOf(page, number);
    const left = lanes.reduce((sum, lane) => sum + lane.left, 0);
    const width = Math.max(300, Math.min((document.getElementById("main").clientWidth || 800) - 44, 1200));
    const others = [
      app.isNumber(row.window) ? `one inference took ${app.time(row.window)} under the profiler (${row.which})` : "",
      app.isNumber(row.ratio) ? `${app.ratio(row.ratio)} of the time without it` : "",
      app.isNumber(row.held) ? `a call on a held stream ${app.time(row.held)}` : "",
      app.isNumber(row.own_gpu) ? `gpu of the same process before the profiler started ${app.time(row.own_gpu)}` : "",
    ].filter(Boolean).join(", ");
    return h("div", { class: "profile" },
      h("p", { class: "note" }, [row.version && row.version.startsWith(row.tool) ? row.version : `${row.tool} ${row.version || ""}`.trim(), app.when(row.created), others].filter(Boolean).join(" \u00b7 ")),
      row.failure ? h("p", { class: "pre" }, h("strong", null, row.failure), ` ${row.message || ""}`) : "",
      parts.length ? partsOf(row, parts) : "",
      lanes.length ? [h("h3", null, "Timeline of one inference"), left ? h("p", { class: "note" }, `${app.count(left)} shorter events are not in this page.`) : "", app.timelineOf(lanes, width)] : "",
      kernelsOf(page, number), copiesOf(page, number), layersOf(page, number, row),
      (row.notes || []).length ? h("ul", { class: "notes" }, row.notes.map((note) => h("li", null, note))) : "");
  }

  // A bar of the window's parts, and the same as a table.
  function partsOf(row, parts) {
    let at = 0;
    const colors = app.STACKS.waterfall;
    const bar = s("svg", { class: "waterfall", viewBox: "0 0 1000 22", preserveAspectRatio: "none", role: "img", "aria-label": "Parts of one inference; the table below has their times." },
      parts.map((name) => {
        const width = (row[name] / row.window) * 1000;
        at += width;
        return s("rect", { x: at - width, y: 0, width, height: 22, style: `fill:var(${colors[name]})` }, s("title", null, `${name}: ${app.time(row[name])}`));
      }));
    const share = (ns) => `${((ns / row.window) * 100).toFixed(1)}%`;
    return [bar, app.grid([{ title: "part" }, { title: "time", align: "right" }, { title: "of the inference", align: "right" }, { title: "what happens", style: "wrap" }],
      parts.map((name) => [
        h("span", { class: "part" }, s("svg", { class: "swatch", width: 12, height: 12, "aria-hidden": "true" }, s("rect", { width: 12, height: 12, rx: 2, style: `fill:var(${colors[name]})` })), ` ${name}`),
        app.time(row[name]), share(row[name]), MEANINGS[name],
      ]), { caption: "Parts of one inference" })];
  }

  const percent = (value) => (app.isNumber(value) ? `${(value * 100).toFixed(1)}%` : app.NONE);

  function kernelsOf(page, number) {
    const { kernels, names, profiles } = page;
    const lines = kernels.where("profile", number);
    if (!lines.length) return "";
    const what = profiles.get(number, "device") === "cpu" ? "operator" : "kernel";
    const rows = lines.map((line) => {
      const each = kernels.row(line);
      if (each.others) return [`${app.plural(each.others, `other ${what}`)}`, app.count(each.count), "", app.time(each.ns), percent(each.share), ""];
      return [h("span", { title: names[each.full] }, app.breakable(names[each.name])), app.count(each.count), app.time(each.each), app.time(each.ns), percent(each.share), h("span", null, app.breakable(names[each.module] || ""))];
    });
    return [h("h3", null, `Where ${what}s spend the time`), app.grid([{ title: what, style: "wrap" }, ...["launches", "each", "all", "share"].map((title) => ({ title, align: "right" })), { title: "computes", style: "wrap" }],
      rows, { caption: `The ${what}s of one inference, the longest first`, class: "kernels" })];
  }

  function copiesOf(page, number) {
    const { copies } = page;
    const lines = copies.where("profile", number);
    if (!lines.length) return "";
    const rate = (each) => (each.ns ? `${app.plain(each.bytes / each.ns)} GB/s` : app.NONE);
    return [h("h3", null, "Memory that is moved"), app.grid([{ title: "kind" }, ...["copies", "size", "time", "rate"].map((title) => ({ title, align: "right" }))],
      lines.map((line) => {
        const each = copies.row(line);
        return [each.kind, app.count(each.count), app.size(each.bytes), app.time(each.ns), rate(each)];
      }), { caption: "Copies and memsets of one inference" })];
  }

  function layersOf(page, number, row) {
    const { layers, names } = page;
    const lines = layers.where("profile", number);
    if (!lines.length) return "";
    const columns = [{ title: "layer", style: "wrap" }, { title: "type" }, { title: "precision" }, { title: "time", align: "right" }, { title: "share", align: "right" }, { title: "tactic", style: "wrap" }, { title: "output", style: "wrap" }];
    return [h("h3", null, `Layers of the engine${row.runtime ? `, ${row.runtime}` : ""}`), app.longGrid(columns, lines.length, (index) => {
      const each = layers.row(lines[index]);
      return [h("span", null, `${each.at} `, app.breakable(names[each.name])), each.reformat ? `${each.kind} (reformat)` : each.kind, each.precision, app.time(each.ns), percent(each.share),
        h("span", null, app.breakable(app.isNumber(each.tactic) ? names[each.tactic] : "")), each.format || ""];
    }, { caption: "Layers in the order in which they run", class: "layers" })];
  }

  Object.assign(app, { profilesOf, profileOf });
})(globalThis.trtbench);
