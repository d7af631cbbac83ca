// The status page of kt. It shows what /stream sends (lua/kt/http/status.lua): first the last ten minutes, then the status each second.
//
// Names of links, pools and peers are hostile text: they reach the page only as textContent. Invariant: points of a link are in the order
// of time and at most SPAN old.
"use strict";

(() => {
  const SPAN = 600; // seconds
  const EVENTS = 200, ROWS = 500; // rows shown
  const byId = (id) => document.getElementById(id);

  // ---- text ----

  const size = (n) => {
    if (n === undefined || n === null) return "-";
    for (const [unit, name] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) if (n >= unit) return (n / unit).toFixed(1) + " " + name;
    return Math.floor(n) + " B";
  };
  const rate = (n) => n === undefined || n === null ? "-" : size(n) + "/s";
  const rtt = (s) => !(s > 0) ? "-" : (s * 1000).toFixed(s < 0.01 ? 1 : 0) + " ms";
  const share = (x) => x === undefined || x === null ? "-" : (x * 100).toFixed(1) + " %";
  const count = (n) => n === undefined || n === null ? "-" : String(n);
  const span = (seconds) => {
    const s = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " m " + two(s % 60) + " s";
    if (s < 86400) return Math.floor(s / 3600) + " h " + two(Math.floor(s % 3600 / 60)) + " m";
    return Math.floor(s / 86400) + " d " + two(Math.floor(s % 86400 / 3600)) + " h";
  };
  const clock = (wall) => new Date(wall * 1000).toLocaleTimeString();

  // ---- elements ----

  const make = (tag, attributes, ...children) => {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
    e.append(...children.map(String));
    return e;
  };
  const set = (e, text) => { if (e.textContent !== text) e.textContent = text; };
  const mark = (e, state) => { if (e.dataset.state !== state) e.dataset.state = state; };
  const list = (value) => Array.isArray(value) ? value : [];

  // Fills the body of a table with rows of text, and reuses its rows.
  const fill = (table, rows, classes) => {
    const body = table.tBodies[0];
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((cells, i) => {
      const row = body.rows[i] || body.insertRow();
      cells.forEach((text, k) => {
        const cell = row.cells[k] || row.insertCell();
        set(cell, text);
        if (classes && classes[k]) cell.className = classes[k];
      });
    });
  };

  // ---- charts ----

  // Columns are those of lua/kt/http/history.lua; f turns a value into text; the scale goes up to `least` at least.
  const CHARTS = [
    { title: "Rate", f: rate, least: 1000, series: [["in", "rate_in"], ["out", "rate_out"]] },
    { title: "Round trip", f: rtt, least: 0.01, series: [["srtt", "srtt"]], gaps: true },
    { title: "Loss", f: share, least: 0.02, series: [["loss", "loss"]] },
    { title: "Window", f: count, least: 10, series: [["window", "cwnd"], ["in flight", "inflight"], ["queued", "queued"]] },
  ];
  const events = []; // the newest first

  const marks = (card, from) => events.filter((e) => e.type !== "up" && e.link === card.row && e.time >= from).map((e) => e.time);
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const points = (card, chart) => card.points.map((p) => [p.t, ...chart.series.map(([, column]) => {
    const v = p[column];
    return v === undefined || v < 0 || (chart.gaps && !(v > 0 && p.up)) ? null : v;
  })]);

  const topOf = (data, chart) => Math.max(chart.least, ...data.flatMap((p) => p.slice(1).map((v) => v || 0))) * 1.05;

  const drawSvg = (box, data, card, chart, now) => {
    const NS = "http://www.w3.org/2000/svg", top = topOf(data, chart);
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", "0 0 600 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const add = (tag, attributes) => {
      const e = document.createElementNS(NS, tag);
      for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
      svg.append(e);
    };
    const x = (t) => (SPAN - (now - t)).toFixed(1);
    for (const t of marks(card, now - SPAN)) add("line", { class: "mark", x1: x(t), x2: x(t), y1: 0, y2: 100 });
    chart.series.forEach((_, i) => {
      let piece = [];
      const end = () => {
        if (piece.length) add("polyline", { class: "s" + i, points: piece.join(" ") });
        piece = [];
      };
      for (const p of data) {
        if (p[i + 1] === null) end();
        else piece.push(x(p[0]) + "," + (98 - 96 * p[i + 1] / top).toFixed(1));
      }
      end();
    });
    box.replaceChildren(svg);
  };

  // Its legend writes a style attribute, which the page's policy forbids.
  if (window.Dygraph) Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);

  const drawDygraph = (figure, data, card, chart, now) => {
    if (!data.length) return;
    const file = data.map((p) => [new Date(p[0] * 1000), ...p.slice(1)]);
    const options = {
      file, valueRange: [0, topOf(data, chart)], dateWindow: [(now - SPAN) * 1000, now * 1000],
      colors: ["--first", "--second", "--third"].slice(0, chart.series.length).map(variable), gridLineColor: variable("--line"), axisLineColor: variable("--line"),
    };
    if (figure.graph) {
      figure.graph.updateOptions(options);
      return;
    }
    figure.graph = new Dygraph(figure.box, file, Object.assign(options, {
      labels: ["time", ...chart.series.map(([label]) => label)], connectSeparatedPoints: false, strokeWidth: 1.5,
      interactionModel: {}, axisLabelFontSize: 11, axes: { x: { pixelsPerLabel: 70 }, y: { axisLabelFormatter: (v) => v ? chart.f(v) : "0", axisLabelWidth: 64, pixelsPerLabel: 28 } },
      underlayCallback: (canvas, area, graph) => {
        canvas.fillStyle = variable("--down");
        for (const t of marks(card, card.now - SPAN)) canvas.fillRect(graph.toDomXCoord(t * 1000), area.y, 1, area.h);
      },
    }));
  };

  const draw = (card, now) => {
    card.now = now;
    if (!card.visible || document.hidden) return;
    for (const figure of card.figures) {
      const { chart } = figure, data = points(card, chart), last = data[data.length - 1];
      chart.series.forEach((_, i) => {
        const values = data.map((p) => p[i + 1]).filter((v) => v !== null);
        const nowText = last && last[i + 1] !== null ? chart.f(last[i + 1]) : "-";
        set(figure.texts[i], nowText + (values.length ? ", highest " + chart.f(Math.max(...values)) : ""));
      });
      if (window.Dygraph) drawDygraph(figure, data, card, chart, now);
      else drawSvg(figure.box, data, card, chart, now);
    }
  };

  // ---- links ----

  const FIGURES = [
    ["In", (s) => rate(s.rate_in)], ["Out", (s) => rate(s.rate_out)], ["Round trip", (s) => rtt(s.srtt)], ["Loss", (s) => share(s.loss)],
    ["Window", (s) => count(s.cwnd)], ["In flight", (s) => count(s.inflight)], ["Queued", (s) => count(s.queued)], ["Sessions", (s) => count(s.sessions)],
    ["Streams", (s) => count(s.streams)], ["In total", (s) => size(s.bytes_in)], ["Out total", (s) => size(s.bytes_out)],
  ];
  const cards = new Map(); // kind and name → card

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const card = entry.target.card;
      card.visible = entry.isIntersecting;
      if (card.now) draw(card, card.now);
    }
  });

  const newCard = (kind, name) => {
    const card = { points: [], values: [], figures: [], visible: false, element: make("article"), row: name };
    const head = make("header"), values = make("dl"), charts = make("div", { class: "charts" });
    card.state = make("p", { class: "state" });
    head.append(make("h3", {}, kind === "link" ? name : "Links to " + name), card.state);
    for (const [title] of FIGURES) {
      const pair = make("div"), value = make("dd");
      pair.append(make("dt", {}, title), value);
      values.append(pair);
      card.values.push(value);
    }
    for (const chart of CHARTS) {
      const element = make("figure"), caption = make("figcaption", {}, chart.title + ": "), box = make("div", { class: "chart" });
      const texts = chart.series.map(([label], i) => {
        const text = make("span");
        caption.append(i ? "; " : "", make("span", { class: "k" + i }, label), " ", text);
        return text;
      });
      element.append(caption, box);
      charts.append(element);
      card.figures.push({ chart, box, texts });
    }
    card.element.append(head, values, charts);
    card.element.card = card;
    byId("links").append(card.element);
    seen.observe(card.element);
    return card;
  };

  const cardOf = (kind, name) => {
    const key = kind + " " + name;
    if (!cards.has(key)) cards.set(key, newCard(kind, name));
    return cards.get(key);
  };

  const stateOf = (kind, row) => {
    if (!row.open) return "closed";
    if (kind !== "link") return "open";
    return row.stats && row.stats.up ? "up" : row.wanted ? "down" : "idle";
  };

  const takeRow = (card, kind, row, wall) => {
    const s = row.stats || {}, state = stateOf(kind, row);
    card.row = row.name;
    mark(card.element, state);
    set(card.state, state === "up" && s.since > 0 ? "up for " + span(s.since) : state);
    FIGURES.forEach(([, f], i) => set(card.values[i], f(s)));
    card.points.push(Object.assign({ t: wall }, s));
    while (card.points.length && card.points[0].t < wall - SPAN) card.points.shift();
  };

  // ---- the rest ----

  const pools = new Map(); // by place

  const showPools = (all) => {
    byId("pools-section").hidden = all.length === 0;
    all.forEach((pool, i) => {
      if (!pools.has(i)) {
        const box = make("div", { class: "scroll" }), table = make("table"), head = table.createTHead().insertRow();
        table.prepend(make("caption"));
        for (const title of ["Link", "Chosen", "State", "Round trip", "Loss", "Streams", "Weight", "Why"]) head.append(make("th", { scope: "col" }, title));
        table.createTBody();
        box.append(table);
        byId("pools").append(box);
        pools.set(i, { box, table });
      }
      const { table } = pools.get(i), why = events.find((e) => e.type === "switch" && e.pool === pool.name);
      set(table.caption, pool.name + ": " + pool.up + " of " + list(pool.links).length + " up, " + (pool.current ? "new streams go over " + pool.current
        : "new streams are spread, or none was opened yet") + (why ? "; at " + clock(why.time) + ": " + why.text : ""));
      fill(table, list(pool.links).map((l) => [
        l.name, l.name === pool.current ? "\u25cf chosen" : "", l.draining ? "draining" : l.up ? "up" : "down", rtt(l.srtt), share(l.loss), count(l.streams), count(l.weight),
        l.error || "",
      ]), { 7: "what" });
    });
    for (const [i, { box }] of pools) {
      if (i >= all.length) {
        box.remove();
        pools.delete(i);
      }
    }
  };

  const showEvents = () => {
    byId("no-events").hidden = events.length > 0;
    fill(byId("events"), events.map((e) => [clock(e.time), e.type + (e.failed && e.type === "reload" ? " failed" : ""),
      [e.pool, e.link, e.conn, e.peer].filter(Boolean).join(": "), e.text]), { 3: "what" });
  };

  const takeEvents = (fresh) => {
    for (const e of list(fresh)) events.unshift(e);
    events.length = Math.min(events.length, EVENTS);
    showEvents();
  };

  let conns = [];
  const showConns = (total) => {
    const wanted = byId("search").value.trim().toLowerCase();
    const fits = conns.filter((c) => !wanted || [c.id, c.kind, c.peer, c.spliced, c.owner].some((v) => v !== undefined && String(v).toLowerCase().includes(wanted)));
    fill(byId("conns"), fits.slice(0, ROWS).map((c) => [c.id, c.kind, c.peer || "-", c.spliced || c.owner || "-", span(c.age), size(c.bytes_in), size(c.bytes_out)].map(String)));
    const notes = [];
    if (wanted) notes.push(fits.length + " found");
    if (fits.length > ROWS) notes.push("the first " + ROWS + " are shown");
    if (total > conns.length) notes.push("searched in the oldest " + conns.length + " of " + total);
    set(byId("conns-note"), notes.join("; "));
  };

  let asking = false, total = 0;
  const askConns = async () => {
    if (asking || !byId("conns-details").open || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch("status.json?max=5000");
      if (answer.ok) {
        const is = await answer.json();
        conns = list(is.script.conns);
        total = is.script.conn_count;
        showConns(total);
      }
    } catch (_) { // the stream says that the connection is lost
    } finally {
      asking = false;
    }
  };
  byId("conns-details").addEventListener("toggle", askConns);
  byId("search").addEventListener("input", () => showConns(total));

  // ---- the stream ----

  const state = (name, text) => {
    mark(byId("connection"), name);
    set(byId("connection"), text);
  };

  let ticks = 0;
  const takeStatus = (wall, is, rows) => {
    const script = is.script, lists = { link: list(script.links), listener: list(script.listeners) }, known = new Set();
    document.title = is.name + " - kt";
    set(byId("name"), is.name);
    set(byId("facts"), "kt " + is.version + ", pid " + is.pid + ", up " + span(is.uptime) + ", " + size(script.memory) + " of memory in the script"
      + (is.ending ? ", ending" : ""));
    for (const { kind, name, at } of list(rows)) {
      const card = cardOf(kind, name);
      known.add(kind + " " + name);
      takeRow(card, kind, lists[kind][at], wall);
      if (ticks % 2 === 0 || !card.drawn) draw(card, wall);
      card.drawn = true;
    }
    for (const [key, card] of cards) {
      if (!known.has(key)) {
        seen.unobserve(card.element);
        card.element.remove();
        cards.delete(key);
      }
    }
    byId("no-links").hidden = cards.size > 0;
    showPools(list(script.pools));
    fill(byId("listeners"), lists.listener.map((l) => [l.name, l.what, l.open ? "open" : "closed"]));
    set(byId("conns-count"), String(script.conn_count));
    if (ticks++ % 3 === 0) askConns();
  };

  const takeHistory = ({ wall, history, events: past }) => {
    for (const ring of list(history.rings)) {
      const card = cardOf(ring.kind, ring.name), rows = list(ring.rows);
      card.points = rows.map((row, i) => {
        const p = { t: wall - (rows.length - 1 - i) * history.step };
        history.columns.forEach((column, k) => { p[column] = row[k]; });
        return p;
      });
    }
    events.length = 0;
    takeEvents(past);
  };

  let source;
  const connect = () => {
    source = new EventSource("stream");
    source.addEventListener("history", (e) => takeHistory(JSON.parse(e.data)));
    source.addEventListener("status", (e) => {
      const { wall, status, rows } = JSON.parse(e.data);
      state("live", "live");
      takeStatus(wall, status, rows);
    });
    source.addEventListener("events", (e) => takeEvents(JSON.parse(e.data)));
    source.addEventListener("error", () => {
      state("lost", "no answer from kt; trying again");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000); // a refusal, after which the browser gives up
    });
  };
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", connect);
})();
