// The first view: what was asked and where, the best runtime of each model, what stands out, and what has no result.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const WIDTH = 84; // of an interval

  const caseAddress = (page, row) =>
    app.address("case", [page.runs.get(page.cases.get(row, "run"), "id"), page.cases.get(row, "id")]);

  const caseLink = (page, row, text) =>
    (row === null || row === undefined ? app.NONE : h("a", { href: caseAddress(page, row), title: page.cases.get(row, "label") }, app.breakable(text || page.cases.get(row, "label"))));

  // Backend, precision and setting: what a reader chooses among.
  const choice = (page, row) =>
    ["backend", "precision", "setting"].map((name) => page.cases.get(row, name)).filter(Boolean).join(" ");

  const FINDINGS = {
    gain: {
      title: "Largest gain",
      figure: (f) => app.ratio(f.value),
      text: (page, f) => [caseLink(page, f.case), " against ", app.breakable(page.cases.get(f.case, "against") || "its baseline"),
        ` (${page.cases.get(f.case, "speed_text")}). ${f.count} of ${app.plural(f.of, "leading case")} are known to beat their baseline.`],
      zero: "none", // a gain is a ratio, not a number of cases
      none: "No leading case is known to be faster than its baseline, or no run has one.",
    },
    host_bound: {
      title: "Host-bound cases",
      figure: (f) => app.count(f.count),
      text: (page, f) => [`of ${app.plural(f.of, "case")} on a GPU with a usable result wait for the host. Most of all `, caseLink(page, f.case),
        app.isNumber(f.value) ? `, where issuing a call takes ${app.ratio(f.value)} the GPU's time.` : ".",
        " CUDA graphs or a larger batch help."],
      none: (f) => (f.of ? `None of ${app.plural(f.of, "case")} on a GPU with a usable result waits for the host.` : "No case on a GPU has a usable result."),
    },
    fast_inaccurate: {
      title: "Fast but inaccurate",
      figure: (f) => app.count(f.count),
      text: (page, f) => [f.count === 1 ? "case is" : "cases are", " faster than the best accurate one, with wrong outputs. Most of all ",
        caseLink(page, f.case), `, ${app.ratio(f.value)} as fast as `, caseLink(page, f.other), "."],
      none: (f) => (f.of ? `Of ${app.plural(f.of, "case")} that were checked none is both faster than the best and inaccurate.`
        : "No outputs were checked, or only those of engines of optimization level 0."),
    },
  };

  function findings(page) {
    const cards = [];
    for (let index = 0; index < page.findings.rows; index += 1) {
      const f = page.findings.row(index);
      const view = FINDINGS[f.kind];
      if (!view) continue;
      const there = f.count > 0 && f.case !== null;
      const none = typeof view.none === "function" ? view.none(f) : view.none;
      cards.push(h("div", { class: "finding" },
        h("h3", null, view.title),
        h("p", { class: there ? "big" : "big quiet" }, there ? view.figure(f) : view.zero || "0"),
        h("p", null, there ? view.text(page, f) : none)));
    }
    return h("section", { class: "findings", "aria-label": "Findings" }, cards);
  }

  // ------------------------------------------------------------------------------------------------------- the best

  const LEVEL_ZERO = "A builder at level 0 takes the first kernel that works: to check outputs soon, and not to be fast.";

  const CHOICE = "Times of different runs are not ranked against each other: for each model and size one run counts. Runs that rank at most half as many cases, or backends, as another run are left aside. "
    + "Of the others one with its baseline comes first, then the one whose case is the fastest by more than 5%, then one whose ratios have an interval, then the latest. "
    + "A time of a run that does not count stands below if it is lower by more than 5%, with the reason; sessions differ by less.";

  // Why a faster case of another run does not lead.
  const EXCLUSIONS = {
    narrow: (leader) => `ranks only ${app.plural(leader.faster_rivals, "case")} of ${app.plural(leader.faster_backends, "backend")}`,
    no_baseline: () => "did not measure its baseline",
    level_zero: () => "has engines of optimization level 0 alone",
  };

  function fasterCase(page, leader) {
    const place = leader.faster;
    if (place === null || place === undefined) return "";
    return h("small", { class: "of faster" }, `${page.cases.get(place, "time_text")} by `, caseLink(page, place, choice(page, place)), ` in another run, which ${EXCLUSIONS[leader.faster_why](leader)}`);
  }

  function bestTable(page) {
    const { leaders, cases, runs } = page;
    if (!leaders.rows) return h("p", { class: "empty" }, runs.rows && runs.column("verdicts").every((texts) => texts.length)
      ? "Of a duel its pairs say which side is faster: in the list of runs, below."
      : "No case is measured, accurate and ranked yet: nothing to choose from. Failures and their reasons are below.");
    const groups = new Map();
    for (let index = 0; index < leaders.rows; index += 1) {
      const device = cases.get(leaders.get(index, "case"), "device");
      if (!groups.has(device)) groups.set(device, []);
      groups.get(device).push(index);
    }
    return [...groups].map(([device, every]) => {
      const without = every.filter((index) => leaders.get(index, "level_zero") === "all");
      const indices = every.filter((index) => !without.includes(index));
      const of = app.meaning(cases, indices.map((index) => leaders.get(index, "case")));
      const speeds = indices.flatMap((index) => ["speed_low", "speed_high"].map((name) => cases.get(leaders.get(index, "case"), name)))
        .filter(app.isNumber);
      const x = speeds.length ? app.scale(Math.min(1, ...speeds) / 1.02, Math.max(1, ...speeds) * 1.02, WIDTH) : null;
      const drawn = (cell) => (x ? [cell] : []); // only where there is an interval to draw
      const columns = [
        { title: "model" }, { title: "sizes" }, { title: "best accurate runtime", style: "wrap" },
        { title: of.time, align: "right" }, { title: "rate /s", align: "right" }, { title: of.speed, align: "right" },
        ...drawn({ title: "interval", style: "chart-cell", note: "The 95% interval of the speed; the dotted line is the baseline" }),
        { title: "margin to the next", align: "right" }, { title: "next", style: "wrap" },
      ];
      indices.sort((a, b) => order(page, leaders.get(a, "case"), leaders.get(b, "case")));
      const line = (number) => {
        const leader = leaders.row(indices[number]);
        const row = cases.row(leader.case);
        const ties = leader.ties.length;
        const next = leader.runner_up;
        return [
          row.model, [row.sizes || app.NONE, leader.shapes ? h("small", { class: "of" }, leader.shapes) : ""],
          [caseLink(page, leader.case, choice(page, leader.case)),
            ties ? h("span", { class: "soft", title: leader.ties.map((tie) => cases.get(tie, "label")).join("\n") },
              row.status === "fastest" ? ` tied with ${app.plural(ties, "other")}` : " lowest time, of one process: not decided") : "",
            leader.level_zero ? h("span", { class: "soft", title: LEVEL_ZERO }, " built at optimization level 0, which is not its fastest") : "",
            fasterCase(page, leader)],
          timeOf(of, row), figure(row.rate_text), speedOf(of, row),
          ...drawn(app.isNumber(row.speed_low) ? app.interval(row.speed, row.speed_low, row.speed_high, x, WIDTH, true) : ""),
          leader.margin_text && next !== null ? figure(leader.margin_text) : app.NONE,
          next !== null ? caseLink(page, next, choice(page, next)) : h("span", { class: "soft" }, leader.rivals === 1 ? "the only one" : row.status === "fastest" ? "all are tied" : "not decided"),
        ];
      };
      const left = without.map((index) => cases.row(leaders.get(index, "case"))).sort((a, b) => a.model.localeCompare(b.model)).map((row) => [row.model, row.sizes].filter(Boolean).join(" "));
      const sources = new Set(indices.map((index) => runs.get(cases.get(leaders.get(index, "case"), "run"), "id")));
      return [
        h("h3", null, device),
        indices.length ? app.longGrid(columns, indices.length, line, { caption: `Best accurate runtime per model on ${device}`, class: "best" }) : "",
        left.length ? h("p", { class: "note" }, `Left out, as only engines of optimization level 0 were measured: ${left.join(", ")}. ${LEVEL_ZERO}`) : "",
        indices.length && h("p", { class: "note" }, `From ${app.plural(sources.size, "run")}.`),
      ];
    });
  }

  // The time of a case and its speed, each with what it is of where the title of its column does not say it.
  const timeOf = (of, row) => [figure(row.time_text), !of.boundary && row.boundary ? h("small", { class: "of" }, row.boundary) : ""];

  const speedOf = (of, row) => [row.speed_text === "baseline" ? h("span", { class: "soft" }, "baseline") : figure(row.speed_text),
    !of.baseline && row.baseline && row.speed_text !== "baseline" ? h("small", { class: "of" }, "vs ", app.breakable(row.baseline)) : ""];

  const order = (page, a, b) =>
    `${page.cases.get(a, "model")}`.localeCompare(page.cases.get(b, "model")) || a - b;

  // "1.23 ms ±0.4%": the interval is set apart, so that the numbers themselves align.
  function figure(text) {
    if (!text || text === "-") return app.NONE;
    const [, value, rest] = /^(\S+(?: [a-zA-Z]+)?)(.*)$/.exec(text) || [null, text, ""];
    return [value, rest && " ", rest ? h("span", { class: "range" }, rest.trim()) : ""];
  }

  // ------------------------------------------------------------------------------------------------------ no result

  const REASONS = [
    ["failed", "failure", "failure_message", "failure_hint"],
    ["unavailable", "failure", "failure_message", "failure_hint"],
    ["inaccurate", null, "accuracy_why", null],
    ["varies", null, "accuracy_why", null],
    ["unranked", null, "flaw", null],
  ];

  // Notes that say why times cannot be used.
  const UNUSABLE = ["EmptyOutput", "BlindReference", "StateChanges", "OutputsChange"];

  function withoutResult(page) {
    const { cases } = page;
    const lines = [];
    for (const [status, kind, text, hint] of REASONS) {
      const groups = new Map();
      for (const row of cases.where("status", status)) {
        if (status === "unranked" && !cases.get(row, text)) continue; // sound, and without the boundary that ranks
        const words = (cases.get(row, text) || "").replace(/\d[\d.,e+-]*/g, "#");
        const key = `${kind ? cases.get(row, kind) : ""}\n${words}`;
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(row);
      }
      for (const rows of [...groups.values()].sort((a, b) => b.length - a.length)) {
        const first = rows[0];
        const fix = hint ? cases.get(first, hint) : status === "unranked" && fixOf(page, first);
        const why = status === "unranked" ? `it ${cases.get(first, text)}` : cases.get(first, text);
        lines.push([
          app.badge(status), app.count(rows.length),
          [kind && h("strong", null, cases.get(first, kind)), kind && " ",
            firstLine(why || (status === "inaccurate" ? "outputs differ from the reference" : "outputs change from call to call")),
            fix && h("span", { class: "try" }, `Try: ${fix}`)],
          rows.length === 1 ? caseLink(page, first)
            : h("a", { href: app.address("cases", [], sharedQuery(page, rows, status)) }, `${app.count(rows.length)} cases`),
        ]);
      }
    }
    const reasons = new Map();
    for (let index = 0; index < page.left_out.rows; index += 1) {
      const { count, reason, label } = page.left_out.row(index);
      const before = reasons.get(reason) || { count: 0, label };
      reasons.set(reason, { ...before, count: before.count + count });
    }
    for (const [reason, { count, label }] of reasons) {
      lines.push([h("span", { class: "badge waiting" }, "left out"), app.count(count), reason, h("span", { class: "soft" }, "e.g. ", app.breakable(label))]);
    }
    if (!lines.length) return h("p", { class: "empty" }, "Every case of every plan has an accurate result.");
    const columns = [{ title: "what" }, { title: "cases", align: "right" }, { title: "why", style: "wrap" }, { title: "which", style: "wrap" }];
    return app.longGrid(columns, lines.length, (index) => lines[index], { caption: "What has no usable result", class: "reasons" });
  }

  // What the note of a case that is not ranked advises.
  function fixOf(page, row) {
    const notes = page.case_notes.where("case", row).map((at) => page.notes.row(page.case_notes.get(at, "note")));
    const note = notes.find((each) => UNUSABLE.includes(each.kind));
    return note && note.fix;
  }

  // The filter that leads to these cases: their status, and what else they all share.
  function sharedQuery(page, rows, status) {
    const query = [["status", status]];
    for (const name of ["model", "backend", "precision"]) {
      const values = new Set(rows.map((row) => page.cases.get(row, name)));
      if (values.size === 1) query.push([name, [...values][0]]);
    }
    return query;
  }

  function firstLine(text) {
    const line = text.split("\n").find((each) => each.trim()) || text;
    return line.length > 240 ? `${line.slice(0, 239)}\u2026` : line;
  }

  // ---------------------------------------------------------------------------------------------------------- runs

  function runsTable(page) {
    const { runs, machines } = page;
    const columns = [
      { title: "run", style: "wrap" }, { title: "device", style: "wrap" }, { title: "made (UTC)" }, { title: "state", style: "wrap wide" },
      { title: "processes", align: "right", note: "Fresh processes per case" }, { title: "libraries", style: "wrap" },
    ];
    const lines = [];
    for (let index = 0; index < runs.rows; index += 1) {
      const run = runs.row(index);
      lines.push([
        [h("a", { class: "name", href: app.address("cases", [], [["run", run.id]]) }, run.id),
          h("span", { class: "try" }, [run.suite, `${app.plural(run.cases, "case")} set against ${run.baseline}`].filter(Boolean).join(", "))],
        machines.get(run.machine, "label"), when(run.created),
        [h("span", { class: run.status === "complete" ? "" : "warn" }, run.status === "complete" ? "" : `${run.status}: `), run.counts,
          run.verdicts.map((text) => h("span", { class: "try" }, text)), (run.notes || []).map((note) => h("span", { class: "try" }, note))],
        app.count(run.replicates), [run.libraries.replace(/^.*?\), ?/, ""), (run.toolchains || []).map((line) => h("span", { class: "try" }, line))],
      ]);
    }
    return app.longGrid(columns, lines.length, (index) => lines[index], { caption: "Runs on this page", class: "runs" });
  }

  const when = (created) => (created ? created.slice(0, 16).replace("T", " ") : app.NONE);

  function showOverview(page, route, main) {
    const { cases, runs, machines } = page;
    const models = new Set(cases.column("model")).size;
    const backends = new Set(cases.column("backend")).size;
    main.append(h("h1", null, page.title));
    if (page.problems.length) {
      main.append(h("section", { class: "problems", "aria-label": "Problems" }, h("h2", null, "Not everything could be read"),
        h("ul", null, page.problems.map((problem) => h("li", null, problem)))));
    }
    if (!runs.rows) {
      main.append(h("p", { class: "empty" }, `There are no runs in ${page.store || "the store"} yet. What would fill this page: `, h("code", null, "trtbench run suites/smoke.yaml"),
        ", then ", h("code", null, "trtbench report"), "."));
      return;
    }
    main.append(
      h("p", { class: "lead" }, `${app.plural(cases.rows, "case")} of ${app.plural(models, "model")} by ${app.plural(backends, "backend")} (each set of options is one), in ${app.plural(runs.rows, "run")} on ${app.listed(machines.column("label"))}.`),
      findings(page),
      h("section", { class: "card" }, h("h2", null, "Best accurate runtime"), page.leaders.rows && runs.rows > 1 ? h("p", { class: "note" }, CHOICE) : "", bestTable(page)),
      h("section", { class: "card" }, h("h2", null, "Without a usable result"), withoutResult(page)),
      h("section", { class: "card" }, h("h2", null, "Runs"), runsTable(page)));
  }

  Object.assign(app, { showOverview, caseLink, caseAddress, choice, figure, timeOf, speedOf, firstLine, when });
})(globalThis.trtbench);
