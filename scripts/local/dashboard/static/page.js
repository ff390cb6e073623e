"use strict";
// Draws a CloudWatch dashboard's body. All text is put in as text, never as HTML.

const LIGHT = ["#4338ca", "#c2410c", "#0f766e", "#be185d", "#a16207", "#1d4ed8", "#15803d", "#7e22ce", "#b91c1c", "#0e7490", "#4d7c0f", "#6b7280"];
const DARK = ["#a5a8ff", "#fdba74", "#5eead4", "#f9a8d4", "#fde047", "#93c5fd", "#86efac", "#d8b4fe", "#fca5a5", "#67e8f9", "#bef264", "#cbd5e1"];
const MOST_POINTS = 720; // of a line: more have longer periods
const THEMES = ["system", "light", "dark"];
const STATES = { ALARM: "in alarm", OK: "OK", INSUFFICIENT_DATA: "no data" };

const byId = (id) => document.getElementById(id);
const system = matchMedia("(prefers-color-scheme: dark)");
const seen = new Set(); // the widgets on the screen, or near it
const drawn = new WeakMap();
let board, timer, plotly, hadData = false, round = 0;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {};
  const reply = await fetch(path, options);
  const told = await reply.json();
  if (!reply.ok) throw new Error(told.error || `${path} answered ${reply.status}`);
  return told;
}

// Numbers and times

function shown(value, isExact = false) {
  if (value === undefined || value === null) return "–";
  const size = Math.abs(value);
  if (size >= 1e4 && !isExact) {
    const unit = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => size >= least);
    return (value / unit[0]).toLocaleString("en", { maximumSignificantDigits: 3 }) + unit[1];
  }
  const digits = Number.isInteger(value) ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function length(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds % size === 0) return `${seconds / size} ${unit}`;
  return `${seconds} s`;
}

const clock = (seconds, more) => new Date(seconds * 1000).toLocaleTimeString("en", { hour12: false, ...more });
const MINUTE = { hour: "2-digit", minute: "2-digit" };

function isDark() {
  const theme = localStorage.getItem("theme") || "system";
  return theme === "dark" || (theme === "system" && system.matches);
}

// What CloudWatch's text widgets know of Markdown, as far as ours use it

function markdown(text) {
  const parts = [];
  for (const line of text.split("\n").filter((one) => one.trim())) {
    const heading = /^(#+)\s+(.*)/.exec(line);
    const made = heading ? element("h2") : element("p");
    for (const piece of (heading ? heading[2] : line).split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/)) {
      const link = /^\[([^\]]+)\]\((https?:[^)\s]+)\)$/.exec(piece);
      if (link) made.append(element("a", { href: link[2], rel: "noreferrer" }, link[1]));
      else if (/^`.+`$/.test(piece)) made.append(element("code", {}, piece.slice(1, -1)));
      else if (/^\*\*.+\*\*$/.test(piece)) made.append(element("strong", {}, piece.slice(2, -2)));
      else made.append(piece);
    }
    parts.push(made);
  }
  return parts;
}

// Widgets

function build() {
  const main = byId("widgets"), rows = byId("rows");
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target); else seen.delete(entry.target);
      if (entry.isIntersecting && drawn.get(entry.target) !== round) draw(entry.target);
    }
  }, { rootMargin: "300px" });
  const widgets = [...board.widgets].sort((one, other) => one.y - other.y || one.x - other.x);
  const bands = widgets.filter((widget) => widget.type === "text" && widget.width === 24); // as high as their text
  const rowOf = (widget) => widget.y + 1 - bands.filter((band) => band.y < widget.y).reduce((sum, band) => sum + band.height - 1, 0);
  widgets.forEach((widget, number) => {
    const { properties, type } = widget;
    const isSingle = properties.view === "singleValue";
    const card = element("section", { class: `widget ${type === "metric" ? (isSingle ? "single" : "lines") : type === "alarm" ? "alarms" : type}` });
    card.style.gridColumn = `${widget.x + 1} / span ${widget.width}`;
    card.style.gridRow = `${rowOf(widget)} / span ${bands.includes(widget) ? 1 : widget.height}`;
    card.widget = widget;
    if (type === "text") {
      card.append(...markdown(properties.markdown));
      const heading = card.querySelector("h2");
      if (heading) {
        card.id = `row-${number}`;
        rows.append(element("a", { href: `#${card.id}` }, heading.textContent));
      }
    } else {
      card.setAttribute("aria-label", properties.title || "Alarms");
      card.append(element("h3", {}, properties.title || "Alarms"));
      if (type === "alarm") card.id = "alarms";
      if (widget.isOnlyOnAws) {
        card.dataset.only = "aws";
        card.append(element("p", { class: "note" }, type === "log" ? "Only on AWS: Lambda writes these lines itself." : `Only on AWS: ${widget.onlyOnAws.join(", ")}.`));
      } else if (type !== "alarm") watch.observe(card);
    }
    main.append(card);
  });
}

async function draw(card) {
  const mine = round;
  drawn.set(card, mine);
  try {
    if (card.widget.type === "log") await drawTable(card);
    else if (card.classList.contains("single")) await drawSingle(card);
    else await drawLines(card);
    card.querySelector(":scope > .bad")?.remove();
    card.dataset.drawn = mine;
  } catch (error) {
    card.querySelector(":scope > .bad")?.remove();
    card.append(element("p", { class: "note bad" }, error.message));
  }
}

function window_(properties, isSingle) {
  const now = Math.floor(Date.now() / 1000) + 1;
  let range = Number(byId("range").value);
  const own = /^-P(?:(\d+)D)?(?:T(\d+)H)?$/.exec(properties.start || "");
  if (own) range = (Number(own[1] || 0) * 24 + Number(own[2] || 0)) * 3600;
  const least = properties.period || 300;
  let period = least;
  if (isSingle && properties.setPeriodToTimeRange) { // one period from a whole minute on, where CloudWatch begins: else there were two
    const begin = Math.floor((now - range) / 60) * 60;
    return { begin, end: now, period: Math.ceil((now - begin) / 60) * 60, range };
  }
  const factor = [1, 5, 15, 60, 360, 1440].find((each) => range / (least * each) <= MOST_POINTS);
  period = least * factor;
  return { begin: Math.floor((now - range) / period) * period, end: now, period, range };
}

async function values(card, times) {
  const queries = card.widget.queries.map((query) => {
    const made = { ...query };
    if (made.MetricStat) made.MetricStat = { ...made.MetricStat, Period: times.period };
    if (made.Period) made.Period = times.period;
    return made;
  });
  const told = await ask("/metrics", { StartTime: times.begin, EndTime: times.end, MetricDataQueries: queries });
  return told.MetricDataResults;
}

async function drawSingle(card) {
  const { properties } = card.widget;
  const times = window_(properties, true);
  const results = await values(card, times);
  const numbers = element("div", { class: results.length > 1 ? "numbers several" : "numbers" });
  for (const result of results) {
    const value = result.Values[result.Values.length - 1];
    const strong = element("strong", value === undefined ? {} : { "data-value": value, title: shown(value, true) }, shown(value));
    numbers.append(element("div", { "data-label": result.Label }, strong, element("span", {}, result.Label)));
  }
  card.querySelector(".numbers")?.remove();
  card.append(numbers);
  note(card, properties.start ? "30 d" : "");
}

function note(card, text) {
  const heading = card.querySelector("h3");
  heading.querySelector("small")?.remove();
  if (text) heading.append(element("small", {}, text));
}

async function drawLines(card) {
  const { properties, onlyOnAws } = card.widget;
  const times = window_(properties, false);
  const [results] = await Promise.all([values(card, times), charts()]);
  const colors = isDark() ? DARK : LIGHT;
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  card.hidden_ ??= new Set();
  const traces = results.map((result, number) => ({
    name: result.Label,
    x: result.Timestamps.map((at) => new Date(at * 1000)),
    y: result.Values,
    mode: result.Values.length < 60 ? "lines+markers" : "lines",
    marker: { size: 5 },
    line: { width: 2, color: colors[number % colors.length], dash: number < colors.length ? "solid" : "dot" },
    visible: !card.hidden_.has(result.Label),
    hovertemplate: "%{y:,.4~g}",
  })).filter((trace) => trace.y.length || results.length === 1);
  const counted = results.reduce((sum, result) => sum + result.Values.length, 0);
  card.dataset.points = counted;
  const thresholds = (properties.annotations?.horizontal || []).filter((one) => one.value !== undefined);
  const top = Math.max(0, ...traces.filter((trace) => trace.visible === true).flatMap((trace) => trace.y));
  const near = thresholds.filter((one) => one.value <= Math.max(top * 4, 1));
  const highest = Math.max(top, ...near.map((one) => one.value)) * 1.08 || 1;
  let chart = card.querySelector(".chart");
  if (!chart) {
    chart = element("div", { class: "chart", role: "img" });
    card.append(chart);
  }
  chart.setAttribute("aria-label", counted
    ? `${properties.title}: ${results.map((result) => `${result.Label} ${shown(result.Values[result.Values.length - 1])}`).join(", ")}`
    : `${properties.title}: nothing in this time`);
  const axis = { gridcolor: color("--grid"), linecolor: color("--line"), zeroline: false, tickfont: { size: 11, color: color("--soft") }, automargin: true };
  drawLegend(card, results, colors, thresholds, near); // before the chart, which takes the place that is left
  const layout = {
    width: chart.clientWidth, height: chart.clientHeight,
    margin: { l: 8, r: 6, t: 8, b: 4 }, showlegend: false, hovermode: "x unified", dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--ink"), size: 12 } },
    uirevision: String(times.range),
    xaxis: { ...axis, type: "date", range: [new Date(times.begin * 1000), new Date(times.end * 1000)], showgrid: false, nticks: 6, hoverformat: times.range > 86400 ? "%b %d, %H:%M" : "%H:%M:%S", tickformat: times.range > 86400 ? "%b %d\u2009 %H:%M" : "%H:%M" },
    yaxis: { ...axis, fixedrange: true, range: [properties.yAxis?.left?.min ?? Math.min(0, ...traces.flatMap((trace) => trace.y)), highest], nticks: 5, tickformat: highest < 1000 ? ",.3~g" : ".3~s" },
    shapes: near.map((one) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: one.value, y1: one.value, line: { color: color("--red"), width: 1.5, dash: "dash" } })),
    annotations: [
      ...near.map((one) => ({ xref: "paper", x: 1, xanchor: "right", y: one.value, yanchor: "bottom", showarrow: false, text: escaped(one.label || ""), font: { size: 11, color: color("--red") } })),
      ...(counted ? [] : [{ xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false, text: "nothing in this time", font: { color: color("--soft"), size: 13 } }]),
    ],
  };
  await plotly.react(chart, traces, layout, { displayModeBar: false, doubleClick: "reset" });
  const lacking = onlyOnAws.length ? ` · only on AWS: ${onlyOnAws.join(", ")}` : "";
  note(card, length(times.period));
  card.querySelector("small").title = `A point for each ${length(times.period)}${lacking}`;
}

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function drawLegend(card, results, colors, thresholds, near) {
  const focus = card.contains(document.activeElement) ? document.activeElement.dataset.label : undefined;
  const legend = element("ul", { class: "legend" });
  results.forEach((result, number) => {
    if (!result.Values.length && results.length > 6) return;
    const isOn = !card.hidden_.has(result.Label);
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = colors[number % colors.length];
    const last = result.Values[result.Values.length - 1];
    const button = element("button", { type: "button", "aria-pressed": isOn, "data-label": result.Label }, swatch, element("span", {}, result.Label), element("b", {}, shown(last)));
    button.addEventListener("click", () => {
      if (isOn) card.hidden_.add(result.Label); else card.hidden_.delete(result.Label);
      draw(card);
    });
    legend.append(element("li", {}, button));
  });
  for (const one of thresholds) {
    const far = near.includes(one) ? "" : " (above this chart)";
    legend.append(element("li", { class: "threshold" }, element("span", { class: "swatch" }), `${one.label || "threshold"} ${shown(one.value)}${far}`));
  }
  card.querySelector(".legend")?.remove();
  card.append(legend);
  if (focus) [...legend.querySelectorAll("button")].find((one) => one.dataset.label === focus)?.focus();
}

let loading;
function charts() { // Plotly is large: the rest does not wait for it
  loading ??= new Promise((done, failed) => {
    const script = element("script", { src: "/plotly.js" });
    script.addEventListener("load", () => { plotly = window.Plotly; done(); });
    script.addEventListener("error", () => failed(new Error("The charts' library could not be loaded.")));
    document.head.append(script);
  });
  return loading;
}

async function drawTable(card) {
  const times = window_(card.widget.properties, false);
  const told = await ask("/logs", { query: card.widget.properties.query, StartTime: times.end - times.range, EndTime: times.end });
  const isNumber = told.columns.map((_, at) => told.rows.length > 0 && told.rows.every((row) => row[at] === null || typeof row[at] === "number"));
  const heads = told.columns.map((name, at) => element("th", { scope: "col", class: isNumber[at] ? "number" : "" }, name));
  const rows = told.rows.map((row) => element("tr", {}, ...row.map((value, at) => element("td", { class: isNumber[at] ? "number" : "" },
    told.columns[at] === "@timestamp" ? clock(value) : told.columns[at] === "@log" ? String(value).replace(/^.*\//, "") : typeof value === "number" ? shown(value, true) : value === null ? "–" : String(value)))));
  const content = told.rows.length
    ? element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows))
    : element("p", { class: "note" }, "No such line in this time.");
  const box = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `${card.widget.properties.title}, a table` }, content);
  const old = card.querySelector(".scroll");
  const isFocused = old && old === document.activeElement, at = old ? old.scrollTop : 0;
  old?.remove();
  card.append(box);
  box.scrollTop = at;
  if (isFocused) box.focus();
  card.dataset.rows = told.rows.length;
}

// Alarms

const severity = (alarm) => /^\w*/.exec(alarm.AlarmDescription || "")[0].toLowerCase(); // as its text begins

async function drawAlarms() {
  const { Alarms } = await ask("/alarms");
  const raised = Alarms.filter((alarm) => alarm.StateValue === "ALARM");
  const health = byId("health");
  const paging = raised.filter((alarm) => alarm.AlarmRule && severity(alarm) === "page");
  const prefix = board.title.split(",")[0] + "-";
  health.dataset.state = paging.length ? "PAGE" : raised.length ? "ALARM" : "OK";
  health.textContent = (paging.length ? `Paging: ${paging.map((alarm) => alarm.AlarmName.replace(prefix, "")).join(", ")} · ` : "") +
    (raised.length ? `${raised.length} of ${Alarms.length} alarms raised` : `All ${Alarms.length} alarms quiet`);
  document.title = (raised.length ? `(${raised.length}) ` : "") + board.title;
  const card = byId("alarms");
  if (!card) return;
  const names = (card.widget.properties.alarms || []).map((arn) => arn.replace(/^.*:alarm:/, ""));
  const order = { ALARM: 0, INSUFFICIENT_DATA: 1, OK: 2 };
  const listed = names.map((name) => Alarms.find((alarm) => alarm.AlarmName === name)).filter(Boolean);
  listed.sort((one, other) => order[one.StateValue] - order[other.StateValue] || Boolean(other.AlarmRule) - Boolean(one.AlarmRule));
  const shared = /^.*-/.exec(names.reduce((one, other) => { while (!other.startsWith(one)) one = one.slice(0, -1); return one; }, names[0] || ""))?.[0] || "";
  const open = new Set([...card.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const focus = card.contains(document.activeElement) ? document.activeElement.parentElement.dataset.name : undefined;
  const list = element("ul", { class: "many" });
  for (const alarm of listed) {
    const { AlarmName: name, StateValue: state } = alarm;
    const summary = element("summary", {}, element("span", { class: "state", "data-state": state === "ALARM" && severity(alarm) === "page" ? "PAGE" : state }, STATES[state] || state), element("span", { class: "name" }, name.startsWith(shared) ? name.slice(shared.length) : name));
    if (alarm.StateUpdatedTimestamp && state === "ALARM") summary.append(element("time", {}, `since ${clock(alarm.StateUpdatedTimestamp, MINUTE)}`));
    const details = element("details", { "data-name": name, "data-state": state }, summary, element("p", {}, alarm.AlarmDescription || ""), element("p", {}, alarm.StateReason || ""));
    if (alarm.AlarmRule) details.append(element("p", {}, element("code", {}, alarm.AlarmRule)));
    details.open = open.has(name);
    list.append(element("li", {}, details));
  }
  const counts = element("p", { class: "counts" });
  for (const state of Object.keys(STATES)) {
    const number = listed.filter((alarm) => alarm.StateValue === state).length;
    if (number) counts.append(element("span", { class: "state", "data-state": state }, `${number} ${STATES[state]}`));
  }
  const old = card.querySelector(".scroll");
  const at = old ? old.scrollTop : 0;
  const box = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "All alarms" }, list);
  card.querySelector(".counts")?.remove();
  old?.remove();
  card.append(counts, box);
  box.scrollTop = at;
  if (focus) [...box.querySelectorAll("details")].find((one) => one.dataset.name === focus)?.querySelector("summary").focus();
}

// The whole page

async function drawEmpty() {
  if (hadData) return;
  const asked = board.widgets.flatMap((widget) => widget.queries || []).filter((query) => query.MetricStat?.Metric.MetricName === "Requests" && !query.MetricStat.Metric.Dimensions.length)[0];
  if (!asked) return;
  const now = Math.floor(Date.now() / 1000) + 1, range = Number(byId("range").value);
  const query = { ...asked, Id: "any", ReturnData: true, MetricStat: { ...asked.MetricStat, Period: range } };
  const told = await ask("/metrics", { StartTime: now - range, EndTime: now, MetricDataQueries: [query] });
  hadData = told.MetricDataResults[0].Values.length > 0;
  byId("empty")?.remove();
  if (hadData) return;
  const box = element("section", { id: "empty", "aria-label": "What to do first" }, element("h2", {}, "No request yet"),
    element("p", {}, board.hints.length ? "The charts fill as soon as somebody plays. In another terminal:" : "The charts fill as soon as a request has been answered."));
  if (board.hints.length) box.append(element("pre", {}, board.hints.join("\n")));
  byId("widgets").before(box);
}

async function refresh() {
  clearTimeout(timer);
  round += 1;
  const mine = round;
  try {
    await drawEmpty();
    await Promise.all([drawAlarms(), ...[...seen].map(draw)]);
    if (mine === round) byId("status").textContent = `As of ${clock(Date.now() / 1000)}.`;
  } catch (error) {
    byId("status").textContent = `Not refreshed (${error.message}). Is it still running?`;
    byId("health").dataset.state = "unknown";
    byId("health").textContent = "not reached";
  }
  const every = Number(byId("every").value);
  if (every && mine === round) timer = setTimeout(refresh, every * 1000);
}

function paint() {
  const theme = localStorage.getItem("theme") || "system";
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  byId("theme").textContent = `Theme: ${theme}`;
}

function nextTheme() {
  const theme = localStorage.getItem("theme") || "system";
  localStorage.setItem("theme", THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
  paint();
  refresh();
}

async function start() {
  paint();
  byId("range").value = localStorage.getItem("range") || "900";
  byId("every").value = localStorage.getItem("every") || "10";
  for (const id of ["range", "every"]) byId(id).addEventListener("change", () => { localStorage.setItem(id, byId(id).value); hadData = false; refresh(); });
  byId("refresh").addEventListener("click", refresh);
  byId("theme").addEventListener("click", nextTheme);
  let resizing;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(refresh, 200); });
  system.addEventListener("change", () => { paint(); refresh(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const option = byId("range").options[Number(event.key) - 1];
    if (event.key === "r") refresh();
    else if (event.key === "t") nextTheme();
    else if (option) { byId("range").value = option.value; byId("range").dispatchEvent(new Event("change")); }
  });
  try {
    board = await ask("/dashboard.json");
  } catch (error) {
    byId("status").textContent = error.message;
    byId("widgets").append(element("p", { class: "note bad" }, error.message));
    return;
  }
  byId("title").textContent = document.title = board.title;
  build();
  await refresh();
}

document.addEventListener("DOMContentLoaded", start);
