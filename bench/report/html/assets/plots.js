// The view of plots: one at a time, for a filter, in panels; beside each a table of the same rows.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const PANELS = 12; // that are drawn at once
  const EVERY = "*"; // in the address: all runs

  // ------------------------------------------------------------------------------------------------------- the filter

  // The run with the most ranked cases, the newest of several: what is shown when nothing is asked for.
  function fullest(page) {
    const counts = new Array(page.runs.rows).fill(0);
    page.cases.column("ranked").forEach((ranked, place) => { counts[page.cases.get(place, "run")] += ranked ? 1 : 0; });
    const created = page.runs.column("created");
    let best = 0;
    counts.forEach((count, run) => {
      if (count > counts[best] || (count === counts[best] && created[run] > created[best])) best = run;
    });
    return page.runs.get(best, "id");
  }

  function stateOf(page, query) {
    const state = app.toState(query);
    state.sort = "";
    const color = query.find(([name]) => name === "color");
    state.color = color && app.BY.some((each) => each.name === color[1]) ? color[1] : app.BY[0].name;
    const asked = Object.keys(state.facets).length || state.search;
    if (!asked && page.runs.rows > 1) state.facets.run = new Set([fullest(page)]);
    return state;
  }

  function queryOf(page, state) {
    const query = app.toQuery(state);
    if (!query.length && page.runs.rows > 1) query.push(["run", EVERY]);
    if (state.color !== app.BY[0].name) query.push(["color", state.color]);
    return query;
  }

  // The facets of the filter that a plot follows, as sets; a star is no limit.
  function followed(plot, facets) {
    return Object.fromEntries(Object.entries(facets).filter(([name, values]) => !plot.beyond.includes(name) && !values.has(EVERY)));
  }

  function selects(page, plot, state, change) {
    const filter = app.filterOf(page);
    return app.FACETS.map(({ name, title }) => {
      const options = filter.options(name);
      if (options.length < 2 || plot.beyond.includes(name)) return "";
      const chosen = [...(state.facets[name] || [])].filter((value) => value !== EVERY);
      const id = `by-${name}`;
      const select = h("select", { id, onchange: () => change(name, select.value) },
        h("option", { value: "" }, "all"),
        chosen.length > 1 && h("option", { value: "several", selected: true, disabled: true }, `${chosen.length} chosen`),
        options.map((value) => h("option", { value: `=${value}`, selected: chosen.length === 1 && chosen[0] === value }, value)));
      return h("label", { class: "by", for: id }, h("span", null, title), select);
    }).filter(Boolean);
  }

  // -------------------------------------------------------------------------------------------------------- the table

  function texts(plot, page, row) {
    return plot.columns.map(({ name, form }) => {
      if (name === "created") return row.created_text || app.when(row.created);
      if (name === "case") return row.label;
      if (form) return app.FORMS[form](row[name]);
      return row[name] === null || row[name] === undefined ? app.NONE : String(row[name]);
    });
  }

  function plotTable(plot, page, rows) {
    const columns = plot.columns.map(({ title, form }) => ({ title, align: form && form !== "when" ? "right" : "left" }));
    const cells = (index) => texts(plot, page, rows[index])
      .map((text, place) => (plot.columns[place].name === "case" ? app.caseLink(page, rows[index].case) : text));
    const markdown = () => app.copy(app.markdown(columns, rows.map((row) => texts(plot, page, row))), app.plural(rows.length, "row"));
    const raw = (row, name) => (name === "case" ? row.label : name === "created" ? page.runs.get(row.run, "created") : row[name]);
    const csv = () => app.copy(app.csv(["id", ...plot.columns.map(csvName)],
      rows.map((row) => [page.cases.get(row.case, "id"), ...plot.columns.map(({ name }) => raw(row, name))])), app.plural(rows.length, "row"));
    return [
      h("p", { class: "tools" },
        h("button", { type: "button", "data-copy": "markdown", onclick: markdown }, "Copy Markdown"),
        h("button", { type: "button", "data-copy": "csv", onclick: csv }, "Copy CSV")),
      app.longGrid(columns, rows.length, cells, { caption: `${plot.title}, as a table` }),
    ];
  }

  const UNITS = { time: "_ns", size: "_bytes", energy: "_j", flops: "_flop_per_s" };
  const csvName = ({ name, form }) => `${name === "case" ? "label" : name}${UNITS[form] && !name.endsWith("ns") ? UNITS[form] : ""}`;

  function beside(plot, page, rows) {
    const body = h("div", null);
    const details = h("details", { class: "beside" }, h("summary", null, `${app.plural(rows.length, "row")} as a table`), body);
    details.addEventListener("toggle", () => {
      if (details.open && !body.childElementCount) body.append(...plotTable(plot, page, rows));
    });
    return details;
  }

  // -------------------------------------------------------------------------------------------------------- the plot

  const heading = (title) => h("h3", { class: "panel-title" },
    title.map((part, index) => [index ? h("span", { class: "soft" }, " \u00b7 ") : "", h("span", { class: index ? "soft" : null }, app.breakable(part))]));

  function frontList(page, list) {
    if (!list || !list.length) return "";
    return h("ol", { class: "front" }, list.map(([row, text]) =>
      h("li", null, app.caseLink(page, row.case, [row.choice, row.batch ? `batch=${row.batch}` : ""].filter(Boolean).join(" ")), ` ${text}`)));
  }

  // Draws a plot of `rows` into `element`; resolves when all of its first panels stand.
  async function mountPlot(element, plot, page, rows, by) {
    const panels = app.panelsOf(plot, page, rows);
    const hues = app.huesOf(plot, rows, by);
    for (const panel of panels) app.ARRANGE[plot.id](panel);
    if (plot.id === "history") panels.sort((a, b) => b.rows.length - a.rows.length);
    const draw = app.drawer(plot, page, rows, hues, by);
    const place = h("div", { class: `panels ${plot.panel}${panels.length === 1 ? " one" : ""}` });
    const more = h("p", { class: "more" });
    element.append(app.keyOf(plot, rows, hues, by), place, more, beside(plot, page, panels.flatMap((panel) => panel.rows)));
    let drawn = 0;
    async function next() {
      const waiting = panels.slice(drawn, drawn + PANELS).map((panel) => {
        const figure = h("div", { class: "chart", role: "img", "aria-label": `${panel.title.join(", ")}: ${plot.title}. The table below has the figures.` });
        place.append(h("section", { class: "panel" }, heading(panel.title), figure, frontList(page, panel.list)));
        return [panel, figure];
      });
      drawn += waiting.length;
      const rest = panels.length - drawn;
      more.replaceChildren(rest > 0 ? h("button", { type: "button", id: "more-panels", onclick: next }, `Show ${app.count(Math.min(rest, PANELS))} more of ${app.count(panels.length)} charts`) : "");
      // One after the other, so that the page answers meanwhile; none for a view that was left.
      for (const [panel, figure] of waiting) {
        await new Promise((done) => { setTimeout(done); });
        if (!figure.isConnected) return;
        await draw(panel, figure);
      }
    }
    await next();
  }

  function nothing(plot, all, some) {
    if (!plot.rows.rows) return h("p", { class: "empty" }, "Nothing to plot yet. What would fill it: ", plot.missing, ".");
    return h("p", { class: "empty" }, all ? "None of the cases shown has these figures." : "No case that matches the filter has these figures. ",
      all ? "" : h("button", { type: "button", id: "clear-plots", onclick: some }, "Show all cases"));
  }

  function colorSelect(state, change) {
    const select = h("select", { id: "by-color", onchange: () => change(select.value) },
      app.BY.map(({ name, title }) => h("option", { value: name, selected: state.color === name }, title)));
    return h("label", { class: "by", for: "by-color" }, h("span", null, "Colour"), select);
  }

  async function showPlots(page, route, main) {
    const plot = page.plots.find((each) => each.id === route.path[0]) || page.plots[0];
    const state = stateOf(page, route.query);
    const tabs = h("nav", { class: "pills", "aria-label": "Plots" });
    const controls = h("div", { class: "controls", role: "group", "aria-label": "Which cases" });
    const which = h("details", { class: "which", open: matchMedia("(min-width: 900px)").matches }, h("summary", null, "Filters"), controls);
    const scope = h("p", { class: "result", role: "status", id: "plot-scope" });
    const card = h("section", { class: "card plot", id: "plot", "aria-labelledby": "plot-title" });
    main.append(h("h1", null, "Plots"), tabs, which, scope, card);

    let drawing = 0;

    function update() {
      history.replaceState(null, "", app.address("plots", [plot.id], queryOf(page, state)));
      return draw();
    }

    function change(name, value) {
      const values = new Set(value ? [value.slice(1)] : []);
      if (values.size) state.facets[name] = values;
      else delete state.facets[name];
      update();
    }

    function draw() {
      document.body.dataset.ready = "no";
      const query = queryOf(page, state);
      tabs.replaceChildren(...page.plots.map((each) => h("a", {
        href: app.address("plots", [each.id], query), "aria-current": each === plot ? "page" : null, class: each.rows.rows ? null : "blank",
      }, each.name)));
      const focused = document.activeElement && document.activeElement.id;
      const clear = state.search ? h("button", { type: "button", class: "chip", "aria-label": `Remove the search ${state.search}`, onclick: () => { state.search = ""; update(); } },
        h("span", { class: "soft" }, "search "), state.search, h("span", { "aria-hidden": "true" }, " \u00d7")) : "";
      const color = plot.id === "trade" ? colorSelect(state, (value) => { state.color = value; update(); }) : "";
      controls.replaceChildren(...selects(page, plot, state, change), ...[color, clear].filter(Boolean));
      const again = focused && document.getElementById(focused);
      if (again) again.focus();
      const { rows: places } = app.filterOf(page).apply(followed(plot, state.facets), state.search);
      const all = places.length === page.cases.rows;
      const rows = app.plotRows(plot, page, all ? null : new Set(places));
      const there = new Set(rows.map((row) => row.case)).size;
      scope.textContent = `${app.count(there)} of ${all ? app.plural(places.length, "case") : `the ${app.plural(places.length, "case")} that match`} ${places.length === 1 ? "has" : "have"} these figures${all ? "" : `; the page has ${app.count(page.cases.rows)}`}`;
      card.replaceChildren(h("h2", { id: "plot-title" }, plot.title), h("p", { class: "lead" }, plot.text));
      const drawn = rows.length ? mountPlot(card, plot, page, rows, state.color)
        : card.append(nothing(plot, all, () => { state.facets = {}; state.search = ""; update(); }));
      drawing += 1;
      const mine = drawing;
      return Promise.resolve(drawn).finally(() => { if (mine === drawing && card.isConnected) document.body.dataset.ready = "yes"; });
    }

    await draw();
  }

  Object.assign(app, { mountPlot, showPlots });
})(globalThis.trtbench);
