// The view of all cases: search, facets, a sortable table, its copies.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const PAGE = 50; // rows that are drawn at first
  const MORE = 200; // and with each click on "more"
  const FEW = 8; // values that a facet shows before "more"
  const WIDTH = 96;

  const COLUMNS = [
    { name: "model", title: "model", text: (row) => row.model },
    { name: "backend", title: "backend", style: "wrap", text: (row) => row.backend },
    { name: "precision", title: "precision", text: (row) => row.precision },
    { name: "sizes", title: "sizes", text: (row) => row.sizes || app.NONE },
    { name: "setting", title: "setting", text: (row) => row.setting, hidden: true }, // beside the backend, and in copies
    { name: "time", title: "time", align: "right", figure: "time_text" },
    { name: "speed", title: "vs baseline", align: "right", figure: "speed_text", note: "Time of the baseline over time of the case" },
    { name: "baseline", title: "baseline", text: (row) => row.baseline || "", hidden: true }, // beside the speed
    { name: "chart", title: "interval", style: "chart-cell" },
    { name: "status", title: "status", text: (row) => app.STATUS[row.status].text, cell: (row) => app.badge(row.status), note: "Fastest and tied are of the accurate cases of one model and its sizes in one run" },
    { name: "rate", title: "rate /s", align: "right", figure: "rate_text", note: "Inferences per second" },
    { name: "accuracy", title: "accuracy", text: (row) => row.accuracy || app.NONE },
    { name: "python_share", title: "Python's share", align: "right", figure: "python_share_text", note: "The host's time per call under Python less that under C++, as a percentage of that under Python: of enqueue on a GPU, of latency on a CPU" },
    { name: "memory", title: "memory", align: "right", text: (row) => row.memory_text },
    { name: "energy", title: "energy", align: "right", text: (row) => row.energy_text },
    { name: "light", title: "of light", align: "right", text: (row) => row.light_text, note: "Fraction of the machine's roofline" },
    { name: "warnings", title: "notes", align: "right", text: (row) => (row.warnings ? String(row.warnings.split(" ").length) : ""), note: "Warnings: their number" },
    { name: "boundary", title: "time of", text: (row) => row.boundary || app.NONE, hidden: true, note: "The boundary that time and speed are of" },
    { name: "device", title: "device", text: (row) => row.device },
  ];

  // Columns in which all cases are alike, or have nothing, say nothing in a row.
  function columnsFor(page) {
    const silent = new Set(["setting", "device", "energy", "python_share", "light", "memory", "warnings", "boundary"].filter((name) => {
      const values = new Set(page.cases.column(name));
      return values.size <= 1;
    }));
    const of = app.meaning(page.cases, page.cases.column("id").map((_, row) => row));
    if (of.baseline || page.cases.column("baseline").every((name) => !name)) silent.add("baseline"); // the title has it
    return COLUMNS.filter((column) => !silent.has(column.name)).map((column) =>
      (column.name === "time" || column.name === "speed" ? { ...column, title: of[column.name], of } : column));
  }

  const textOf = (column, row) => (column.figure ? row[column.figure] : column.text ? column.text(row) : "");

  function cellOf(page, column, row, place, x) {
    if (column.name === "model") return app.caseLink(page, place, row.model);
    if (column.name === "chart") return x && app.isNumber(row.speed_low) ? app.interval(row.speed, row.speed_low, row.speed_high, x, WIDTH, true) : "";
    if (column.name === "backend") return [app.breakable(row.backend), row.setting && h("span", { class: "soft", title: row.setting }, ` ${app.shortened(row.setting)}`)];
    if (column.cell) return column.cell(row);
    if (column.name === "rate") return row.rate_text && row.rate_text !== "-" ? row.rate_text.split(" ")[0] : app.NONE;
    if (column.name === "time") return app.timeOf(column.of, row);
    if (column.name === "speed") return app.speedOf(column.of, row);
    if (column.figure) return app.figure(row[column.figure]);
    if (column.name === "warnings" && row.warnings) return h("span", { title: row.warnings.split(" ").join("\n") }, textOf(column, row));
    return textOf(column, row);
  }

  const filters = new WeakMap();
  function filterOf(page) {
    if (!filters.has(page)) filters.set(page, new app.Filter(page));
    return filters.get(page);
  }

  // -------------------------------------------------------------------------------------------------------- the view

  function showCases(page, route, main) {
    const filter = filterOf(page);
    const columns = columnsFor(page);
    let state = app.toState(route.query);
    let shown = PAGE;
    const search = h("input", {
      type: "search", id: "search", placeholder: "model, backend, label, warning \u2026", autocomplete: "off", spellcheck: "false", value: state.search,
    });
    const side = h("div", { class: "facets", id: "facets" });
    const result = h("p", { class: "result", role: "status", id: "result" });
    const body = h("div", { id: "table" });
    const names = h("div", { class: "chips", id: "chips" });

    function change(next) {
      state = { ...state, ...next };
      shown = PAGE;
      history.replaceState(null, "", app.address("cases", [], app.toQuery(state)));
      draw();
    }

    function toggle(name, value) {
      const values = new Set(state.facets[name] || []);
      if (!values.delete(value)) values.add(value);
      change({ facets: { ...state.facets, [name]: values } });
    }

    function draw() {
      const { rows, counts } = filter.apply(state.facets, state.search);
      const sorted = filter.sort(rows, state.sort, state.descending);
      result.textContent = rows.length === page.cases.rows ? app.plural(rows.length, "case") : `${app.count(rows.length)} of ${app.plural(page.cases.rows, "case")}`;
      drawChips(names, state, change, toggle);
      drawFacets(side, filter, counts, state, toggle);
      drawTable(body, sorted);
      plots.setAttribute("href", app.address("plots", [], app.toQuery({ ...state, sort: "" })));
    }

    function drawTable(place, rows) {
      const speeds = rows.slice(0, 5000).flatMap((row) => [page.cases.get(row, "speed_low"), page.cases.get(row, "speed_high")]).filter(app.isNumber);
      const x = speeds.length ? app.scale(Math.min(1, ...speeds) / 1.02, Math.max(1, ...speeds) * 1.02, WIDTH) : null;
      const drawn = columns.filter((column) => !column.hidden);
      const head = drawn.map((column) => {
        if (column.name === "chart") return h("th", { scope: "col", title: "The 95% interval of the speed; the dotted line is the baseline" }, column.title);
        const active = state.sort === column.name;
        const direction = active ? (state.descending ? "descending" : "ascending") : "none";
        return h("th", { scope: "col", "aria-sort": direction, class: column.align === "right" ? "figure" : null, title: column.note },
          h("button", { type: "button", class: "sort", "data-sort": column.name, onclick: () => sortBy(column.name) }, column.title,
            h("span", { class: "arrow", "aria-hidden": "true" }, active ? (state.descending ? " \u2193" : " \u2191") : "")));
      });
      const lines = rows.slice(0, shown).map((place) => {
        const row = page.cases.row(place);
        return h("tr", { class: row.status, "data-case": row.id }, drawn.map((column, index) =>
          h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: column.align === "right" ? "figure" : column.style, "data-title": column.title || null, "data-blank": (column.name === "chart" ? !app.isNumber(row.speed_low) : ["-", "", app.NONE].includes(textOf(column, row))) || null },
            app.boxed(cellOf(page, column, row, place, x)))));
      });
      const more = rows.length - shown;
      place.replaceChildren(
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cases" },
          h("table", { class: "cases" }, h("caption", { class: "unseen" }, "Cases"), h("thead", null, h("tr", null, head)), h("tbody", null, lines))),
        rows.length ? "" : h("p", { class: "empty" }, "No case matches. ", h("button", { type: "button", onclick: clear }, "Clear the filter")),
        more > 0 ? h("p", { class: "more" }, h("button", { type: "button", id: "more", onclick: () => { shown += MORE; drawTable(place, rows); } },
          `Show ${app.count(Math.min(more, MORE))} more`), h("span", { class: "soft" }, ` ${app.count(more)} not shown; copies have them all`)) : "");
    }

    function sortBy(name) {
      if (state.sort !== name) change({ sort: name, descending: false });
      else if (!state.descending) change({ descending: true });
      else change({ sort: "", descending: false });
      const button = body.querySelector(`[data-sort="${name}"]`);
      if (button) button.focus();
    }

    function clear() {
      search.value = "";
      change({ facets: {}, search: "" });
    }

    function rowsNow() {
      const { rows } = filter.apply(state.facets, state.search);
      return filter.sort(rows, state.sort, state.descending);
    }

    const copied = columns.filter((column) => column.name !== "chart");
    const copyMarkdown = () => app.copy(app.markdown(copied, rowsNow().map((place) => {
      const row = page.cases.row(place);
      return copied.map((column) => textOf(column, row));
    })), app.plural(rowsNow().length, "row"));
    const copyCsv = () => app.copy(casesCsv(page, rowsNow()), app.plural(rowsNow().length, "row"));
    const plots = h("a", { class: "button", id: "to-plots" }, "Plot these");

    let waiting = 0;
    search.addEventListener("input", () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => change({ search: search.value }));
    });
    main.append(
      h("h1", null, "Cases"),
      h("div", { class: "tools" },
        h("label", { class: "search", for: "search" }, h("span", { class: "unseen" }, "Search the cases"), search),
        result, h("span", { class: "grow" }), plots,
        h("button", { type: "button", id: "copy-markdown", onclick: copyMarkdown }, "Copy Markdown"),
        h("button", { type: "button", id: "copy-csv", onclick: copyCsv }, "Copy CSV")),
      names,
      h("div", { class: "split" }, h("details", { class: "side", open: matchMedia("(min-width: 900px)").matches, id: "side" }, h("summary", null, "Filters"), side), body));
    draw();
  }

  // What is filtered, each with a button that takes it away.
  function drawChips(place, state, change, toggle) {
    const chips = Object.entries(state.facets).flatMap(([name, values]) => [...values].map((value) =>
      h("button", { type: "button", class: "chip", "aria-label": `Remove the filter ${name}: ${value}`, onclick: () => toggle(name, value) },
        h("span", { class: "soft" }, `${name} `), value, h("span", { "aria-hidden": "true" }, " \u00d7"))));
    if (chips.length > 1) chips.push(h("button", { type: "button", class: "quiet", id: "clear", onclick: () => change({ facets: {} }) }, "Clear all"));
    place.replaceChildren(...chips);
  }

  const opened = new Set();

  function drawFacets(place, filter, counts, state, toggle) {
    const focused = document.activeElement && document.activeElement.id;
    place.replaceChildren(...app.FACETS.map(({ name, title }) => {
      const options = filter.options(name);
      if (options.length < 2) return "";
      const chosen = state.facets[name] || new Set();
      const all = opened.has(name);
      const likely = options.filter((value) => chosen.has(value) || counts[name].get(value));
      const first = new Set((likely.length ? likely : options).slice(0, FEW));
      const visible = options.filter((value) => all || first.has(value) || chosen.has(value));
      const boxes = visible.map((value) => {
        const number = counts[name].get(value) || 0;
        const id = `facet-${name}-${options.indexOf(value)}`;
        return h("li", null, h("label", { class: number ? "" : "none", for: id },
          h("input", { type: "checkbox", id, checked: chosen.has(value), onchange: () => toggle(name, value) }),
          h("span", { class: "value", title: value }, name === "status" ? app.STATUS[value].text : app.shortened(value)), h("span", { class: "number" }, app.count(number))));
      });
      const rest = options.length - visible.length;
      return h("fieldset", null, h("legend", null, title), h("ul", null, boxes),
        rest || all ? h("button", { type: "button", class: "quiet", id: `more-${name}`, onclick: () => {
          if (!opened.delete(name)) opened.add(name);
          drawFacets(place, filter, counts, state, toggle);
        } }, all ? "fewer" : `${app.count(rest)} more`) : "");
    }).filter(Boolean));
    const again = focused && document.getElementById(focused);
    if (again) again.focus();
  }

  const RAW = [
    "label", "id", "model", "backend", "precision", "sizes", "setting", "toolchain", "device", "status", "boundary", "time",
    "time_low", "time_high", "rate", "rate_low", "rate_high", "speed", "speed_low", "speed_high", "against", "accuracy", "cosine",
    "rel_l2", "memory", "energy", "python_share", "python_share_low", "python_share_high", "python_share_of", "light", "processes", "warnings", "failure",
  ];

  // Raw numbers with their units in the names, as `trtbench show --format csv` has them.
  function casesCsv(page, rows) {
    const unit = (name) => (/^(time|python_share)(_low|_high)?$/.test(name) ? `${name}_ns` : name === "memory" ? "memory_bytes" : name === "energy" ? "inference_j" : name);
    return app.csv(["run", ...RAW.map(unit)], rows.map((row) =>
      [page.runs.get(page.cases.get(row, "run"), "id"), ...RAW.map((name) => page.cases.get(row, name))]));
  }

  Object.assign(app, { showCases, filterOf, casesCsv });
})(globalThis.trtbench);
