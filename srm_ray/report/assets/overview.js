// The run in one look: before and after, state, events, config.

function drawOverview(run) {
  byId("name").textContent = run.name;
  drawStatus(run);
  const { before, after } = run;
  byId("summary").replaceChildren(...[accuracyCard(run), thinkingCard(before, after), lengthCard(before, after), progressCard(run)].filter(Boolean));
  drawEvents(run.events);
  drawConfig(run.config);
  byId("foot").textContent = live ? "Live from the run folder; the page asks for news every two seconds." : `Written ${run.written}. One file, nothing is loaded from anywhere.`;
}

function drawStatus(run) {
  const done = (run.metrics.step || []).at(-1) || 0;
  const complete = run.summary && (!run.asked_steps || run.summary.steps >= run.asked_steps);
  const ago = run.changed ? Date.now() / 1000 - run.changed : null;
  let [word, text] = ["running", `step ${done}${run.asked_steps ? ` of ${run.asked_steps}` : ""}`];
  if (complete) [word, text] = ["complete", `complete · ${plural(run.summary.steps, "step")}`];
  else if (!live) [word, text] = ["quiet", `unfinished · ${text}`];
  else if (ago === null) text = "starting";
  else if (ago > 120) [word, text] = ["quiet", `${text} · no news for ${duration(ago)}`];
  byId("status").className = `chip ${word}`;
  byId("status").textContent = text;
}

const card = (title, ...content) => el("div", { class: "card" }, el("h3", {}, title), ...content);
const interval = (share) => `${(100 * share.low).toFixed(1)}–${percent(share.high)} of ${share.n.toLocaleString("en")}`;

function accuracyCard({ before, after, metrics }) {
  const [was, is] = [before?.accuracy, after?.accuracy];
  if (!was && !is) return trainingCard(metrics);
  const shown = card("Held-out accuracy, greedy");
  shown.classList.add("wide");
  if (was && is) {
    const apart = is.low > was.high || was.low > is.high;
    shown.append(el("p", { class: "big" }, `${signed(100 * (is.value - was.value), 1)} `, el("small", {}, "points")));
    shown.append(el("p", { class: "quiet" }, `95 % intervals ${apart ? "do not touch" : "touch"}`));
  }
  shown.append(intervalPicture([["before", was, "c0"], ["after", is, "held"]].filter(([, share]) => share)));
  return shown;
}

function trainingCard(metrics) {
  const values = (metrics["reward/accuracy"] || []).filter(isNumber);
  if (!values.length) return null;
  return card("Accuracy in training", el("p", { class: "big" }, percent(values.at(-1))), el("p", { class: "quiet" }, `first step ${percent(values[0])}`));
}

function intervalPicture(rows) {
  const x = (value) => 60 + value * 336;
  const height = 24 + rows.length * 30;
  const picture = svg("svg", { viewBox: `0 0 600 ${height}`, class: "intervals", role: "img", "aria-label": "accuracy with 95 % intervals" });
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 2, y2: height - 22 }));
    picture.append(svg("text", { class: "tick", x: x(tick), y: height - 7, "text-anchor": "middle" }, percent(tick, 0)));
  }
  rows.forEach(([label, share, colour], rank) => {
    const y = 18 + rank * 30;
    picture.append(svg("text", { class: "row-name", x: 50, y: y + 4, "text-anchor": "end" }, label));
    picture.append(svg("rect", { class: `bar ${colour} span`, x: x(share.low), y: y - 7, width: Math.max(2, x(share.high) - x(share.low)), height: 14, rx: 7 }));
    picture.append(svg("circle", { class: `mark ${colour}`, cx: x(share.value), cy: y, r: 5 }));
    picture.append(svg("text", { class: "row-value", x: 446, y: y + 4 }, svg("tspan", { class: "strong" }, percent(share.value)), `  [${(100 * share.low).toFixed(1)}, ${(100 * share.high).toFixed(1)}]`));
  });
  const n = rows[0][1].n;
  picture.append(svg("text", { class: "tick", x: 446, y: height - 7 }, `n = ${n.toLocaleString("en")}`));
  return picture;
}

function thinkingCard(before, after) {
  if (!before?.thinks && !after?.thinks) return null;
  const row = (name, share) => (share ? el("p", { class: "quiet" }, `${name} ${interval(share)}`) : null);
  return card("Completions that think", change(percent(before?.thinks?.value), percent(after?.thinks?.value)), row("before", before?.thinks), row("after", after?.thinks));
}

function lengthCard(before, after) {
  const either = before || after;
  if (!isNumber(either?.thinking_characters)) return null;
  const rounded = (value) => (isNumber(value) ? value.toFixed(1) : "–");
  return card("Thinking length", change(rounded(before?.thinking_characters), rounded(after?.thinking_characters)), el("p", { class: "quiet" }, "characters, mean"),
    el("p", { class: "quiet" }, `whole completion ${rounded(before?.tokens)} → ${rounded(after?.tokens)} tokens`));
}

const change = (was, is) => el("p", { class: "big" }, el("span", { class: "was" }, was), el("span", { class: "arrow" }, "→"), is);

function progressCard(run) {
  const { metrics, summary } = run;
  const done = (metrics.step || []).at(-1) || 0;
  const part = (name, i) => (metrics[name] || [])[i] || 0;
  const whole = (seconds, i) => seconds + part("time/eval", i) + part("time/log", i) + part("time/checkpoint", i);
  const times = (metrics["time/step"] || []).map((seconds, i) => (isNumber(seconds) ? whole(seconds, i) : null)).filter(isNumber);
  const mean = times.reduce((sum, one) => sum + one, 0) / (times.length || 1);
  const rows = [`${mean.toFixed(1)} s a step`];
  if (summary) rows.push(`${duration(summary.wall_seconds)} in all, ${duration(summary.train_seconds)} of it training`);
  else if (run.asked_steps > done && times.length) rows.push(`about ${duration(mean * (run.asked_steps - done))} left`);
  rows.push(summary?.restarts ? `continued ${summary.restarts} ×` : "");
  return card("Steps", el("p", { class: "big" }, done.toLocaleString("en"), run.asked_steps ? el("small", {}, ` of ${run.asked_steps.toLocaleString("en")}`) : null),
    ...rows.filter(Boolean).map((text) => el("p", { class: "quiet" }, text)));
}

function drawEvents(events) {
  const rows = events.map((event) => {
    const where = !event.first ? "whole run" : event.first === event.last ? `step ${event.first}` : `steps ${event.first}–${event.last}`;
    const open = event.first ? () => openStep(event.first) : null;
    return el("tr", { class: event.warning ? "warning" : "" }, el("td", {}, event.first ? el("button", { class: "link", onclick: open }, where) : where),
      el("td", {}, el("span", { class: "chip" }, event.kind)), el("td", {}, event.text));
  });
  byId("event-list").replaceChildren(rows.length ? el("table", {}, el("tbody", {}, rows)) : el("p", { class: "quiet" }, "Nothing out of the ordinary: no alarm, no restart, no dropped group."));
}

function drawConfig(config) {
  const sections = new Map();
  for (const [key, value] of Object.entries(config)) {
    const dot = key.indexOf(".");
    const section = dot < 0 ? "run" : key.slice(0, dot);
    if (!sections.has(section)) sections.set(section, []);
    sections.get(section).push([key.slice(dot + 1), value]);
  }
  const show = (value) => (value === null ? "none" : value === "" ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));
  byId("config-list").replaceChildren(...[...sections].map(([name, rows]) => el("div", { class: "config-section" }, el("h3", {}, name),
    el("dl", {}, rows.map(([key, value]) => [el("dt", {}, key), el("dd", { class: value === "" || value === null ? "quiet" : "" }, show(value))])))));
}
