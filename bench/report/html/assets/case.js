// The page of one case: its figures, distributions, phases, accuracy, telemetry, warnings, environment, and how to rerun it.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const FEW = 8; // processes whose distributions are all open

  function showCase(page, route, main) {
    const [run, id] = route.path;
    const number = page.runs.column("id").indexOf(run);
    const place = page.cases.where("id", id).find((row) => page.cases.get(row, "run") === number);
    if (place === undefined) {
      main.append(h("h1", null, "No such case"), h("p", { class: "empty" }, `This page has no case ${id || ""} of the run ${run || ""}: it may have been made from other runs. `,
        h("a", { href: app.address("cases") }, "All cases")));
      return;
    }
    const row = page.cases.row(place);
    main.append(
      h("p", { class: "crumbs" }, h("a", { href: app.address("cases") }, "Cases"), " / ", h("a", { href: app.address("cases", [], [["model", row.model]]) }, row.model)),
      h("h1", { class: "label", title: row.label }, app.breakable(row.label)),
      h("p", { class: "lead" }, app.badge(row.status), ` on ${row.device}, `, h("a", { href: app.address("cases", [], [["run", run]]) }, run)),
      headline(row),
      row.failure ? failure(row) : "",
      warningsOf(page, place),
      section("Times", timesOf(page, place)),
      section("Distributions", distributionsOf(page, place)),
      section("Phases", phasesOf(page, place)),
      section("Profile", profileSection(page, place, row)),
      section("Why it differs from its baseline", app.explanationOf(page, place)),
      section("Accuracy", accuracyOf(page, place, row)),
      section("Processes and telemetry", processesOf(page, place)),
      section("Conditions", conditionsOf(page, place)),
      section("Environment", environmentOf(page, row)),
      section("Run it again", rerun(page, row)),
      section("Other runs of this case", elsewhere(page, place, row)));
  }

  const section = (title, content) =>
    (content ? h("section", { class: "card" }, h("h2", null, title), content) : "");

  const profileSection = (page, place, row) => (row.status === "unavailable" ? "" : app.profileOf(page, place, row));

  const none = (text) => h("p", { class: "empty" }, text);

  function headline(row) {
    const facts = [
      [row.boundary ? `time (${row.boundary})` : "time", row.time_text],
      ["inferences per second", row.rate_text],
      ["vs baseline", row.speed_text, row.against && row.speed_text !== "baseline" ? `against ${row.against}` : ""],
      ["accuracy", row.accuracy, row.accuracy_why],
      [row.memory_of === "host" ? "peak host memory" : "peak GPU memory", row.memory_text],
      ["energy per inference", row.energy_text],
      [`Python's share of ${row.python_share_of}`, row.python_share_text, "the host's time per call under Python less that under C++, as a percentage of that under Python"],
      ["of the speed of light", row.light_text, row.bound ? `${row.bound}-bound` : ""],
    ].filter(([, text]) => text && text !== "-");
    return facts.length ? h("dl", { class: "facts" }, facts.map(([name, text, more]) =>
      h("div", null, h("dt", null, name), h("dd", null, app.figure(text), more ? h("small", null, more) : "")))) : "";
  }

  function failure(row) {
    return h("section", { class: "card failure" }, h("h2", null, row.failure), h("p", { class: "pre" }, row.failure_message || ""),
      row.failure_hint && h("p", null, h("strong", null, "Try: "), row.failure_hint),
      row.failure_log && h("details", null, h("summary", null, "The end of its log"), h("pre", { tabindex: "0" }, row.failure_log)));
  }

  function warningsOf(page, place) {
    const notes = page.case_notes.where("case", place).map((pair) => page.notes.row(page.case_notes.get(pair, "note")));
    if (!notes.length) return "";
    return h("section", { class: "card" }, h("h2", null, "Warnings"), h("ul", { class: "notes" }, notes.map((note) =>
      h("li", null, h("strong", null, note.kind), ` ${note.text}.`, note.fix && h("span", { class: "try" }, `Try: ${note.fix}`)))));
  }

  function timesOf(page, place) {
    const { times, boundaries } = page;
    const lines = times.where("case", place);
    if (!lines.length) return page.cases.get(place, "failure") ? "" : none("Nothing was measured yet.");
    const medians = Object.fromEntries(lines.map((line) => [times.get(line, "boundary"), times.get(line, "time")]));
    const gpu = "gpu" in medians || "gpu_unheld" in medians || "h2d" in medians;
    const columns = [{ title: "boundary" }, ...["median", "min", "p90", "p95", "p99", "sd", "samples", "processes"].map((title) => ({ title, align: "right" }))];
    const rows = lines.map((line) => {
      const each = times.row(line);
      return [h("span", { title: boundaries[each.boundary] }, each.boundary), app.figure(each.time_text), ...["minimum", "p90", "p95", "p99", "sd"].map((name) => app.time(each[name])),
        app.count(each.samples), app.count(each.processes)];
    });
    const words = lines.map((line) => times.get(line, "boundary")).filter((name) => boundaries[name]);
    return [app.timeline(medians, gpu), app.grid(columns, rows, { caption: "Times by boundary" }),
      h("details", { class: "beside" }, h("summary", null, "What the boundaries span"), h("dl", { class: "definitions" }, words.map((name) => [h("dt", null, name), h("dd", null, boundaries[name])])))];
  }

  function distributionsOf(page, place) {
    const { processes, distributions } = page;
    const boundaries = new Map();
    for (const process of processes.where("case", place)) {
      for (const each of distributions.where("process", process)) {
        const { boundary, steps, median, samples, marked } = distributions.row(each);
        if (!boundaries.has(boundary)) boundaries.set(boundary, []);
        boundaries.get(boundary).push({ name: `process ${processes.get(process, "replicate") + 1}${marked ? " \u2020" : ""}`, values: app.fromSteps(steps), median, samples, marked });
      }
    }
    if (!boundaries.size) return "";
    const primary = page.cases.get(place, "boundary");
    const ordered = [...boundaries].sort(([a], [b]) => (b === primary) - (a === primary));
    return h("div", { class: "side-by-side" }, ordered.map(([boundary, series], index) => h("details", { class: "distribution", open: index === 0 || series.length <= FEW },
      h("summary", null, boundary, h("span", { class: "soft" }, ` ${app.plural(series.length, "process")}${boundary === "throughput" ? ": latencies of calls inside the loop" : ""}`)),
      app.distributions(series, `Distribution of ${boundary}`),
      series.some((each) => each.marked) ? h("p", { class: "note" }, "\u2020 some samples were taken while the device was throttled; they are kept.") : "")));
  }

  function phasesOf(page, place) {
    const { phases } = page;
    const lines = phases.where("case", place);
    if (!lines.length) return "";
    const most = Math.max(...lines.flatMap((line) => [phases.get(line, "cold"), phases.get(line, "warm")]).filter(app.isNumber));
    const bar = (ns, kind) => (app.isNumber(ns) ? h("span", { class: `meter ${kind}`, style: null, "data-share": ns / most }) : "");
    const grid = app.grid([{ title: "phase" }, { title: "cold", align: "right" }, { title: "warm", align: "right" }, { title: "", style: "chart-cell" }],
      lines.map((line) => {
        const { name, cold, warm } = phases.row(line);
        return [name, app.time(cold), app.time(warm), [bar(cold, "cold"), bar(warm, "warm")]];
      }), { caption: "Phases before and around the measurement" });
    for (const meter of grid.querySelectorAll(".meter")) meter.style.width = `${Math.max(Number(meter.dataset.share) * 160, 1)}px`;
    return [grid, h("p", { class: "note" }, "Medians over processes; warm: with an artifact or cache of an earlier process.")];
  }

  function accuracyOf(page, place, row) {
    const { outputs } = page;
    const lines = outputs.where("case", place);
    if (!lines.length) return page.cases.get(place, "processes") ? none("The outputs were not checked.") : "";
    const decibels = (value) => (app.isNumber(value) ? value.toFixed(1) : app.NONE);
    // Against the quantized model in PyTorch, which cases that trtbench has quantized have.
    const quantized = lines.some((line) => app.isNumber(outputs.get(line, "quantized_cosine")));
    // Of that model with itself, which records of later versions have.
    const rounding = lines.some((line) => app.isNumber(outputs.get(line, "rounding_cosine")));
    const titles = ["cosine", "relative L2", "max abs", "SQNR dB", "NaN", ...(quantized ? ["cosine (int8)", "SQNR dB (int8)"] : []),
      ...(rounding ? ["cosine (rounding)"] : [])];
    const caption = "Accuracy of each output against the fp32 reference" + (quantized ? "; (int8): against the quantized model that PyTorch runs" : "")
      + (rounding ? "; (rounding): of that model with float16 between its layers, with itself" : "");
    return [row.accuracy_why ? h("p", null, row.accuracy_why) : "",
      app.grid([{ title: "output", style: "wrap" }, ...titles.map((title) => ({ title, align: "right" })), { title: "worst part", style: "wrap" }],
        lines.map((line) => {
          const each = outputs.row(line);
          return [each.name, each.cosine_text, app.small(each.rel_l2), app.small(each.max_abs), decibels(each.sqnr), app.count(each.nan),
            ...(quantized ? [each.quantized_cosine_text, decibels(each.quantized_sqnr)] : []),
            ...(rounding ? [each.rounding_cosine_text] : []),
            each.slice ? `${each.slice}: relative L2 ${app.small(each.slice_rel_l2)}` : ""];
        }), { caption })];
  }

  const TELEMETRY = [
    ["sm_mhz_median", "SM MHz", app.count], ["memory_mhz", "memory MHz", app.count], ["power_w_max", "W", app.plain], ["temperature_c_max", "\u00b0C", app.count],
    ["throttled", "throttled", (text) => text || app.NONE], ["gpu_memory_bytes", "GPU memory", app.size], ["inference_j", "J per inference", app.small],
    ["gpu_floor_ns", "floor of gpu", app.time], ["peak_rss_bytes", "peak RSS", app.size], ["cpu_mhz", "CPU MHz", app.count], ["load_average", "load", app.plain],
    ["involuntary_switches", "preemptions", app.count], ["longest_wait_ns", "longest wait", app.time],
  ];

  function processesOf(page, place) {
    const { processes } = page;
    const lines = processes.where("case", place);
    if (!lines.length) return none("No process has run yet.");
    const there = TELEMETRY.filter(([name]) => lines.some((line) => processes.get(line, name) !== null && processes.get(line, name) !== undefined));
    const columns = [{ title: "process" }, { title: "started" }, ...there.map(([name, title]) => ({ title, align: name === "throttled" ? "left" : "right" }))];
    const rows = lines.map((line) => {
      const each = processes.row(line);
      const build = each.build ? `, build ${each.build + 1}` : "";
      return [`${each.replicate + 1}${build}${each.card ? ` on ${each.card}` : ""}${each.failure ? `: ${each.failure}` : ""}`, app.when(each.started), ...there.map(([name, , form]) => form(each[name]))];
    });
    return app.grid(columns, rows, { caption: "Processes with their telemetry" });
  }

  function conditionsOf(page, place) {
    const lines = page.conditions.where("case", place);
    return lines.length ? h("dl", { class: "pairs" }, lines.map((line) => h("div", null, h("dt", null, page.conditions.get(line, "name")), h("dd", null, page.conditions.get(line, "value"))))) : "";
  }

  function environmentOf(page, row) {
    const run = page.runs.row(row.run);
    const pairs = [
      ["device", row.device], ["libraries", run.libraries], ["toolchain", row.toolchain], ...(run.toolchains || []).map((line) => ["also", line]), ["limits", run.limits],
      ["ceilings", run.ceilings], ["fingerprint", run.fingerprint], ["suite", run.suite], ["run", run.id], ["made", app.when(run.created)], ["trtbench", run.version],
      ["caches", run.cold ? "none (--cold)" : "of earlier runs"],
    ].filter(([, value]) => value);
    return h("dl", { class: "pairs" }, pairs.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  }

  function rerun(page, row) {
    const commands = [row.rerun, page.runs.get(row.run, "show")].filter(Boolean);
    return [
      commands.map((command) => h("div", { class: "command" }, h("code", null, command), h("button", { type: "button", onclick: () => app.copy(command, "command") }, "Copy"))),
      row.rerun ? "" : h("p", { class: "note" }, "This run was made without a suite file, so there is no command that measures the case again."),
    ];
  }

  function elsewhere(page, place, row) {
    const others = page.cases.where("id", row.id).filter((other) => other !== place);
    if (!others.length) return "";
    return app.grid([{ title: "run", style: "wrap" }, { title: "device", style: "wrap" }, { title: "time", align: "right" }, { title: "status" }],
      others.map((other) => {
        const each = page.cases.row(other);
        return [app.caseLink(page, other, page.runs.get(each.run, "id")), each.device, app.figure(each.time_text), app.badge(each.status)];
      }), { caption: "The same case in other runs" });
  }

  Object.assign(app, { showCase });
})(globalThis.trtbench);
