// The timeline of one inference: host and GPU on one axis, zoomed by dragging, buttons or keys; beside it a table.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h, s } = app;
  const ROW = 18, TITLE = 16, GAP = 8, AXIS = 20; // heights, px
  const DEEPEST = 6; // rows of events that lie within each other
  const LEAST = 1; // px: shorter events are drawn as one where they touch
  const LETTER = 6.3; // px, about
  const LONGEST = 200; // events in the table
  const SHORTEST = 1e-4; // of the inference, that zooming ends at

  // ------------------------------------------------------------------------------------------------------------- data

  // The lanes of a profile: {title, kind, left, depth, events: [{start, end, name, kind, module, delay, row}]}, in ns.
  function lanesOf(page, number) {
    const text = (place) => (app.isNumber(place) ? page.names[place] : "");
    return (page.timelines[number] || []).map(({ title, kind, left, events: packed }) => {
      const table = new app.Table(packed);
      const ends = []; // of the events that are open
      let now = 0;
      let depth = 0;
      const events = Array.from({ length: table.rows }, (_, index) => {
        now += table.get(index, "start");
        const end = now + table.get(index, "ns");
        while (ends.length && ends[ends.length - 1] <= now) ends.pop();
        const row = Math.min(ends.length, DEEPEST - 1);
        ends.push(end);
        depth = Math.max(depth, row + 1);
        return { start: now, end, name: text(table.get(index, "name")), kind: table.get(index, "kind"), module: text(table.get(index, "module")), delay: table.get(index, "delay"), row };
      });
      return { title, kind, left, depth, events };
    });
  }

  // What to draw of events between two times on `width` px: {x, width, row, kind, events}; those too short to be seen
  // are one mark with their neighbours.
  function marksOf(events, from, to, width) {
    const place = (ns) => ((ns - from) / (to - from)) * width;
    const marks = [];
    const last = new Map(); // the mark of each row that may take in the next event
    for (const event of events) {
      if (event.end < from || event.start > to) continue;
      const x0 = Math.max(place(event.start), 0);
      const x1 = Math.min(place(event.end), width);
      const before = last.get(event.row);
      if (before && before.kind === event.kind && x1 - x0 < LEAST && x0 - (before.x + before.width) < LEAST / 2) {
        before.width = Math.max(before.width, x1 - before.x);
        before.events.push(event);
        continue;
      }
      const mark = { x: x0, width: Math.max(x1 - x0, LEAST / 2), row: event.row, kind: event.kind, events: [event] };
      marks.push(mark);
      if (x1 - x0 < LEAST) last.set(event.row, mark);
      else last.delete(event.row);
    }
    return marks;
  }

  // From and to after a zoom by `factor` about the point at `share` of the view, or a move by `share` of it.
  function zoomed([from, to], [least, most], factor, share) {
    const span = Math.max(Math.min((to - from) * factor, most - least), (most - least) * SHORTEST);
    return within(from + (to - from - span) * share, span, least, most);
  }

  const moved = ([from, to], [least, most], share) => within(from + (to - from) * share, to - from, least, most);

  function within(from, span, least, most) {
    const start = Math.min(Math.max(from, least), most - span);
    return [start, start + span];
  }

  // ---------------------------------------------------------------------------------------------------------- drawing

  function describe(event) {
    return [
      event.name, event.module && event.module !== event.name ? `of ${event.module}` : "", `${app.time(event.end - event.start)} from ${app.time(event.start)} on`,
      app.isNumber(event.delay) ? `${app.time(event.delay)} after the start of its launch` : "",
    ].filter(Boolean).join(", ");
  }

  const label = (mark) =>
    (mark.events.length === 1 ? describe(mark.events[0]) : `${app.count(mark.events.length)} short events: zoom in to tell them apart`);

  function drawLanes(lanes, [from, to], width) {
    let y = AXIS;
    const drawn = [];
    for (const lane of lanes) {
      drawn.push(s("text", { x: 2, y: y + 12, class: "lane" }, lane.title));
      y += TITLE;
      for (const mark of marksOf(lane.events, from, to, width)) {
        const top = y + mark.row * ROW;
        const letters = Math.floor((mark.width - 6) / LETTER);
        const { name } = mark.events[0];
        drawn.push(s("g", { class: `event ${mark.kind}` },
          s("rect", { x: mark.x.toFixed(2), y: top, width: mark.width.toFixed(2), height: ROW - 3 }, s("title", null, label(mark))),
          mark.events.length === 1 && letters > 2 &&
            s("text", { x: (mark.x + 3).toFixed(2), y: top + 11 }, name.length > letters ? `${name.slice(0, letters - 1)}\u2026` : name)));
        drawn[drawn.length - 1].trtbenchMark = mark;
      }
      y += Math.max(lane.depth, 1) * ROW + GAP;
    }
    const ticks = app.ticks(from, to, Math.max(2, Math.round(width / 130)));
    const axis = ticks.map((value) => {
      const x = ((value - from) / (to - from)) * width;
      return s("g", { class: "moment" }, s("line", { x1: x, x2: x, y1: AXIS - 4, y2: y }),
        s("text", { x, y: 11, "text-anchor": x < 30 ? "start" : x > width - 30 ? "end" : "middle" }, app.time(value)));
    });
    return { height: y, children: [...axis, ...drawn] };
  }

  function eventTable(lanes) {
    const every = lanes.flatMap((lane) => lane.events.map((event) => ({ lane, event })));
    const longest = every.sort((a, b) => b.event.end - b.event.start - (a.event.end - a.event.start)).slice(0, LONGEST);
    const columns = [{ title: "event", style: "wrap" }, { title: "lane" }, { title: "module", style: "wrap" }, { title: "start", align: "right" },
      { title: "time", align: "right" }, { title: "after its launch", align: "right" }];
    const body = h("div", null);
    const title = every.length > LONGEST ? `The ${LONGEST} longest of ${app.count(every.length)} events as a table` : `${app.plural(every.length, "event")} as a table`;
    const details = h("details", { class: "beside events" }, h("summary", null, title), body);
    details.addEventListener("toggle", () => {
      if (!details.open || body.childElementCount) return;
      body.append(app.longGrid(columns, longest.length, (index) => {
        const { lane, event } = longest[index];
        return [h("span", null, app.breakable(event.name)), lane.title, event.module, app.time(event.start), app.time(event.end - event.start), app.time(event.delay)];
      }, { caption: "Events, the longest first" }));
    });
    return details;
  }

  // The timeline as an element, `width` px wide.
  function timelineOf(lanes, width) {
    const ends = lanes.flatMap((lane) => lane.events.map((event) => event.end));
    if (!ends.length) return "";
    const whole = [0, ends.reduce((a, b) => Math.max(a, b))];
    let view = whole;
    const svg = s("svg", { class: "trace", width, role: "img", "aria-label": "Host and GPU while one inference runs; the table below has the events." });
    const scope = h("span", { class: "soft", role: "status" });
    const chosen = h("p", { class: "note chosen", role: "status" }, "Drag over a span to zoom in; click an event to read it. Keys: + and \u2212, the arrows, 0 for the whole.");

    function draw() {
      const { height, children } = drawLanes(lanes, view, width);
      svg.setAttribute("height", height);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.replaceChildren(...children);
      scope.textContent = `${app.time(view[0])} to ${app.time(view[1])} of ${app.time(whole[1])}`;
    }

    function set(next) {
      view = next;
      draw();
    }

    const ACTIONS = {
      "+": () => set(zoomed(view, whole, 0.5, 0.5)), "-": () => set(zoomed(view, whole, 2, 0.5)),
      ArrowLeft: () => set(moved(view, whole, -0.25)), ArrowRight: () => set(moved(view, whole, 0.25)), 0: () => set(whole),
    };
    const frame = h("div", { class: "trace-frame", tabindex: "0", role: "group", "aria-label": "Timeline: plus and minus zoom, arrow keys move, 0 shows the whole inference" }, svg);
    frame.addEventListener("keydown", (event) => {
      const action = ACTIONS[event.key === "=" ? "+" : event.key === "_" ? "-" : event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action();
    });
    drags(svg, width, (x0, x1) => set(span(view, whole, x0, x1)), (target) => {
      const group = target.closest("g.event");
      if (group && group.trtbenchMark) chosen.textContent = label(group.trtbenchMark);
    });
    const button = (text, name, key) => h("button", { type: "button", "aria-label": name, onclick: ACTIONS[key] }, text);
    draw();
    return h("div", { class: "timeline" },
      h("p", { class: "tools" }, button("+", "Zoom in", "+"), button("\u2212", "Zoom out", "-"), button("\u2190", "Earlier", "ArrowLeft"), button("\u2192", "Later", "ArrowRight"),
        button("Whole", "Whole inference", "0"), " ", scope),
      frame, chosen, eventTable(lanes));
  }

  // The times under two shares of the view.
  function span([from, to], [least, most], x0, x1) {
    const start = from + (to - from) * Math.min(x0, x1);
    return within(start, Math.max((to - from) * Math.abs(x1 - x0), (most - least) * SHORTEST), least, most);
  }

  // Calls `select` with both ends of a drag as shares of the width, and `click` with what was clicked.
  function drags(svg, width, select, click) {
    let from = null;
    let band = null;
    const share = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    };
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls; there are buttons
      from = share(event);
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = share(event);
      if (!band) {
        band = s("rect", { class: "band", y: 0, height: svg.getAttribute("height") });
        svg.append(band);
      }
      band.setAttribute("x", Math.min(from, to) * width);
      band.setAttribute("width", Math.abs(to - from) * width);
    });
    svg.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [start, to] = [from, share(event)];
      from = null;
      if (band) band.remove();
      band = null;
      if (Math.abs(to - start) * width > 4) select(start, to);
      else {
        const under = document.elementsFromPoint(event.clientX, event.clientY).find((each) => each.closest("g.event"));
        if (under) click(under);
      }
    });
    svg.addEventListener("click", (event) => {
      if (event.target.closest("g.event")) click(event.target); // a finger's
    });
  }

  Object.assign(app, { lanesOf, marksOf, zoomed, moved, span, timelineOf });
})(globalThis.trtbench);
