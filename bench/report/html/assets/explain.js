// Why a case takes another time than its baseline: a list of all pairs that were profiled, and a page for each.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const BY = { modules: "modules of the model", operators: "the order of operators", nodes: "nodes of the model" };

  const GAPS = {
    measured: "Gaps are what the measured latency leaves beside the work.", unprofiled: "Gaps are what the time without the profiler leaves beside the work.",
    profiled: "Gaps are as long as the profiler made them.", gpu: "Gaps are what the measured gpu leaves beside the kernels, and layers of an engine are shortened to it.",
  };

  // What the difference of a pair is of: the boundary that its gaps are from, or how the profiler took part.
  const WHOLE = { measured: "latency", gpu: "gpu", unprofiled: "without the profiler", profiled: "under the profiler" };

  // Gaps, which are parts too, in words.
  const IDLE = { launch: "the GPU waits for launches", wait: "the GPU waits for the host", tail: "after the last work" };

  const partName = (part) => app.breakable(Object.hasOwn(IDLE, part.name) ? IDLE[part.name] : part.name);

  const longer = (ns) => (ns ? `${app.time(Math.abs(ns))} ${ns > 0 ? "longer" : "less"}` : "as long");

  const signed = (ns) => `${ns > 0 ? "+" : ns < 0 ? "\u2212" : ""}${app.time(Math.abs(ns))}`;

  const of = (boundary) => h("small", { class: "of" }, boundary);

  const pairOf = (page, place) => page.explanations.find((each) => each.case === place);

  const addressOf = (page, pair) => app.address("explain", [page.runs.get(page.cases.get(pair.case, "run"), "id"), page.cases.get(pair.case, "id")]);

  function heading(page, pair) {
    const work = pair.work - pair.base_work;
    return [h("p", null, "One inference of A, ", app.caseLink(page, pair.base), `, takes ${app.time(pair.base_ns)}, one of B, this case, ${app.time(pair.ns)}: ${longer(pair.ns - pair.base_ns)}`,
      pair.gaps ? `, of which its work on the GPU ${longer(work)}. ${GAPS[pair.gaps]}` : ". These are times under the profiler."),
    measuredBy(page, pair)];
  }

  // What runs measured of both, each boundary with the run that it is of.
  function measuredBy(page, pair) {
    if (!pair.measured.length) return "";
    const runs = [...new Set(pair.measured.map(([, , , run]) => run))];
    return runs.map((run) => h("p", null, "Measured without a profiler in ", h("a", { href: app.address("cases", [], [["run", run]]) }, run), ": ",
      pair.measured.filter(([, , , of]) => of === run).map(([boundary, a, b]) => `${boundary} ${app.time(a)} \u2192 ${app.time(b)}, ${longer(b - a)}`).join("; "), ".",
      pair.otherwise ? h("strong", null, ` ${remark(pair)}.`) : ""));
  }

  const remark = (pair) => pair.otherwise.charAt(0).toUpperCase() + pair.otherwise.slice(1);

  function totals(pair) {
    return app.grid([{ title: "cause" }, { title: "B \u2212 A", align: "right" }, { title: "parts", align: "right" }],
      pair.totals.map(([kind, ns, parts]) => [kind, signed(ns), app.count(parts)]), { caption: "Causes of the difference, the largest first" });
  }

  // A table of the causes of parts that differ alike, which add up to their difference, and a sentence for each.
  function part(each) {
    const sides = (cause) => [["A", cause.base], ["B", cause.case]].filter(([, names]) => names.length)
      .map(([title, names]) => h("li", null, h("span", { class: "soft" }, `${title}: `), names.map((name, index) => [index ? ", " : "", h("code", null, app.breakable(name))])));
    const heading = [{ title: "cause" }, { title: "A", align: "right" }, { title: "B", align: "right" }, { title: "B \u2212 A", align: "right" }, { title: "parts", align: "right" }];
    const rows = each.causes.map((cause) => [cause.kind, app.time(cause.base_ns), app.time(cause.ns), signed(cause.ns - cause.base_ns), app.count(cause.count)]);
    return h("li", null, h("p", null, h("strong", null, partName(each)), ` ${signed(each.ns - each.base_ns)} (${app.time(each.base_ns)} \u2192 ${app.time(each.ns)})`),
      rows.length > 1 ? app.grid(heading, rows, { caption: "By cause, of the kernels that belong to it" }) : "",
      each.causes.map((cause) => [h("p", { class: "cause" }, `${cause.kind}, ${signed(cause.ns - cause.base_ns)}: ${cause.text}`), h("ul", { class: "sides" }, sides(cause))]));
  }

  // Which profiles these are, and the command that explains the same ones.
  function source(pair) {
    const [a, b] = pair.profiles_created.map(app.when);
    return [b ? `Profiles of A are of ${a}, those of B of ${b} UTC, as no file has both.` : `Both profiles are of one file, of ${a} UTC, the newest that has both.`,
      pair.command ? [" In a terminal: ", h("code", null, app.breakable(pair.command))] : ""];
  }

  function bodyOf(page, pair) {
    return [heading(page, pair), h("p", { class: "note" }, source(pair)), pair.totals.length ? totals(pair) : h("p", { class: "empty" }, "Nothing differs: the same kernels, the same times."),
      h("ol", { class: "parts" }, pair.parts.map(part)),
      pair.others ? h("p", { class: "note" }, `${app.plural(pair.others, "other part")} differ less; trtbench explain prints all of them.`) : "",
      h("p", { class: "note" }, `Parts were matched by ${BY[pair.by] || pair.by}.`),
      pair.notes.length ? h("ul", { class: "notes" }, pair.notes.map((note) => h("li", null, note))) : ""];
  }

  // The section of a case's page; empty where it is not one of a profiled pair.
  function explanationOf(page, place) {
    const pair = pairOf(page, place);
    if (!pair) return "";
    return [heading(page, pair), pair.totals.length ? totals(pair) : "", h("p", null, h("a", { href: addressOf(page, pair) }, "Part by part, with the kernels of both sides"))];
  }

  function showExplain(page, route, main) {
    const [run, id] = route.path;
    const chosen = page.explanations.find((each) => page.cases.get(each.case, "id") === id && page.runs.get(page.cases.get(each.case, "run"), "id") === run);
    if (chosen) {
      main.append(h("p", { class: "crumbs" }, h("a", { href: app.address("explain") }, "Explain"), " / ", app.caseLink(page, chosen.case, "the case")),
        h("h1", { class: "label" }, "Why ", app.breakable(page.cases.get(chosen.case, "label")), " takes a different time"),
        h("section", { class: "card" }, h("h2", null, "Where the difference lies"), bodyOf(page, chosen)));
      return;
    }
    main.append(h("h1", null, "Explain"));
    if (run) main.append(h("p", { class: "empty" }, "This page explains no such pair; it has these."));
    const card = h("section", { class: "card" }, h("h2", null, "Cases against their baselines"));
    main.append(card);
    if (!page.explanations.length) {
      card.append(h("p", { class: "empty" }, "Nothing to explain yet. What would fill it: profiles of a case and of its baseline beside the run: trtbench profile SUITE. ",
        "Any two profiles are explained by trtbench explain A B."));
      return;
    }
    card.append(h("p", { class: "lead" }, "Both were profiled; gaps in which the GPU waits are without what the profiler adds, where that is known. The largest speed-ups and slow-downs, as the case's run has them, come first.",
      page.pairs > page.explanations.length ? ` Of ${app.plural(page.pairs, "pair")} these are explained; trtbench explain A B does any other.` : ""),
      app.longGrid([{ title: "case", style: "wrap" }, { title: "baseline", style: "wrap" }, { title: "speed", align: "right", note: "Against the baseline, in the case's run, at the boundary that is named, without a profiler" }, { title: "difference", align: "right", note: "Of one inference, as the profiles explain it: a sum of its parts that is as long as what is named" }, { title: "measured", align: "right", note: "The differences at the boundary of the speed and of latency, without a profiler" }, { title: "largest cause", style: "wrap" }, { title: "where most of it lies", style: "wrap" }],
        page.explanations.length, (index) => {
          const pair = page.explanations[index];
          const [cause] = pair.totals;
          const speedOf = page.cases.get(pair.case, "boundary");
          const measured = pair.measured.filter(([boundary]) => boundary === "latency" || boundary === speedOf);
          return [h("a", { href: addressOf(page, pair) }, app.breakable(page.cases.get(pair.case, "label"))), h("span", null, app.breakable(page.cases.get(pair.base, "label"))), [app.figure(page.cases.get(pair.case, "speed_text")), of(speedOf)], [signed(pair.ns - pair.base_ns), of(WHOLE[pair.gaps || "profiled"])],
            measured.length ? [measured.map(([boundary, a, b]) => h("div", null, signed(b - a), of(boundary))), pair.otherwise ? h("small", { class: "of warn", title: remark(pair) }, pair.otherwise.replace(/^the run measures /, "").replace(/:.*/, "")) : ""] : app.NONE,
            cause ? `${cause[0]}, ${signed(cause[1]).replace(" ", "\u00a0")}` : "nothing differs", pair.parts.length ? h("span", null, partName(pair.parts[0])) : ""];
        }, { caption: "Profiled cases and their baselines", class: "explained" }));
  }

  Object.assign(app, { explanationOf, showExplain });
})(globalThis.trtbench);
