// Curves: small SVG charts that share the step axis, a cursor, and a click that opens a step.

const CHARTS = [
  { title: "Reward", unit: "mean per completion", lines: [["reward/mean", "mean reward"]] },
  { title: "Accuracy", unit: "share correct, 95 % interval", format: percent, heldOut: true,
    lines: [["reward/accuracy", "training samples", "reward/accuracy_low", "reward/accuracy_high"]] },
  { title: "Suites", unit: "greedy score; the dots at step 0 are before the run", format: percent, suites: true, lines: [] },
  { title: "Completion length", unit: "tokens, mean", lines: [["completion/length_mean", "tokens"]] },
  { title: "Episodes", unit: "mean of an episode", lines: [["episode/turns", "turns"], ["episode/tool_calls", "tool calls"], ["episode/tool_errors", "errors"]] },
  { title: "Entropy", unit: "nats per token", lines: [["policy/entropy", "entropy"]] },
  { title: "Mismatch", unit: "rollout against learner, log scale", log: true,
    lines: [["policy/mismatch_kl", "KL, nats per token"], ["policy/mismatch_abs", "|Δ log p|, nats"]] },
  { title: "Staleness", unit: "weight versions", lines: [["staleness/mean", "mean"], ["staleness/max", "largest"]], integers: true },
  { title: "Step time", unit: "seconds", stack: true, total: "time/step", rest: "other",
    lines: [["time/rollout", "rollout"], ["time/reward", "reward"], ["time/learn", "learn"], ["time/sync", "sync"]] },
  { title: "Beside the step", unit: "seconds", stack: true,
    lines: [["time/eval", "evaluation"], ["time/log", "logs"], ["time/checkpoint", "checkpoint"]] },
  { title: "Groups", unit: "per step", stack: true, integers: true,
    lines: [["groups/kept", "trained on"], ["groups/dropped_uniform", "no signal"], ["groups/dropped_stale", "stale"]] },
  { title: "Throughput", unit: "tokens per second",
    lines: [["throughput/rollout_tokens_per_s", "rollout"], ["throughput/learner_tokens_per_s", "learner"]] },
  { title: "Gradient norm", unit: "before clipping", lines: [["policy/grad_norm", "norm"]] },
  { title: "Clipped tokens", unit: "share of tokens", format: (v) => percent(v, 2),
    lines: [["policy/clip_fraction_high", "upper clip"], ["policy/clip_fraction_low", "lower clip"]] },
  { title: "Workers", unit: "at work", integers: true, lines: [["rollout/workers", "rollout"], ["reward/workers", "reward"], ["environment/workers", "environment"]] },
  { title: "Queues", unit: "groups", integers: true,
    lines: [["queue/groups_ready", "wait for the learner"], ["queue/groups_in_flight", "sampled or graded"]] },
  { title: "Restarts", unit: "so far", integers: true, unlessZero: true,
    lines: [["restarts/rollout", "rollout"], ["restarts/reward", "reward"], ["restarts/environment", "environment"], ["restarts/learner", "learner"]] },
  { title: "Alarms", unit: "raised so far", integers: true, unlessZero: true, lines: [["alarms/fired", "alarms"]] },
  { title: "Cut completions", unit: "share at the token limit", format: percent, lines: [["completion/truncated_fraction", "cut"]] },
];

const SIZE = { width: 420, height: 220, left: 48, right: 12, top: 10, bottom: 26 };
const cursors = [];

function drawCharts(run) {
  cursors.length = 0;
  const steps = run.metrics.step || [];
  const drawn = CHARTS.map((spec) => drawChart(spec, run, steps)).filter(Boolean);
  byId("charts").replaceChildren(...(drawn.length ? drawn : [el("p", { class: "quiet" }, "No step has finished yet.")]));
  const others = otherCharts(run.metrics).map((spec) => drawChart(spec, run, steps)).filter(Boolean);
  byId("more").hidden = !others.length;
  byId("more-count").textContent = `Other metrics (${others.length})`;
  byId("more-charts").replaceChildren(...others);
}

// Every metric that no chart above shows, one chart each, under its own name.
function otherCharts(metrics) {
  const shown = new Set(CHARTS.flatMap((spec) => [spec.total, ...spec.lines.flatMap(([name, , ...bounds]) => [name, ...bounds])]));
  return Object.keys(metrics)
    .filter((name) => !shown.has(name) && name !== "step" && !name.startsWith("eval/accuracy") && !name.startsWith("suite/"))
    .sort().map((name) => ({ title: name, unit: "", lines: [[name, name]] }));
}

function drawChart(spec, run, steps) {
  const series = spec.suites ? suiteSeries(run) : seriesOf(spec, run.metrics);
  const points = spec.heldOut ? heldOutPoints(run) : [];
  if (spec.suites) points.push(...series.filter((one) => isNumber(one.before)).map((one) => ({ step: 0, value: one.before, colour: one.colour })));
  if (!steps.length || (!series.length && !points.length)) return null;
  if (spec.unlessZero && series.every((one) => one.values.every((value) => !value))) return null;
  const scale = scalesOf(spec, series, points, steps);
  const picture = svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": `${spec.title}, ${spec.unit}` });
  drawAxes(picture, scale, spec);
  if (spec.stack) drawStack(picture, scale, series, steps);
  else series.forEach((one) => drawLine(picture, scale, one, steps, !spec.integers));
  drawPoints(picture, scale, points);
  const events = run.events.filter((event) => event.first && event.kind !== "evaluation");
  drawEventMarks(picture, scale, events);
  addCursor(picture, scale, spec, series, points, steps, events);
  const keys = series.length > 1 || points.length || spec.suites ? series.map((one) => el("span", {}, el("i", { class: `swatch ${one.colour}` }), one.label)) : [];
  if (points.length && spec.heldOut) keys.push(el("span", {}, el("i", { class: "swatch held" }), "held out, greedy"));
  return el("figure", { class: "chart" },
    el("figcaption", {}, el("b", {}, spec.title), el("span", { class: "unit" }, spec.unit), el("span", { class: "latest" }, latest(spec, series))),
    picture, el("div", { class: "keys" }, keys));
}

function latest(spec, series) {
  const values = (spec.total ? series.find((one) => one.total)?.total : series[0]?.values) || [];
  const last = values.findLast(isNumber);
  return isNumber(last) ? (spec.format || number)(last) : "";
}

function seriesOf(spec, metrics) {
  const series = spec.lines
    .filter(([name]) => (metrics[name] || []).some(isNumber))
    .map(([name, label, low, high], rank) => ({ label, colour: `c${rank + 1}`, values: metrics[name], low: metrics[low], high: metrics[high] }));
  const total = metrics[spec.total];
  if (!spec.total || !total || !series.length) return series;
  const rest = total.map((value, i) => Math.max(0, (value || 0) - series.reduce((sum, one) => sum + (one.values[i] || 0), 0)));
  series.push({ label: spec.rest, colour: "c0", values: rest });
  series[0].total = total;
  return series;
}

// The suites that GRPO measures while it trains: a line each, from the score before the run.
function suiteSeries({ metrics, suites_before }) {
  const names = Object.keys(metrics).filter((name) => name.startsWith("suite/") && !["suite/mean", "suite/kept"].includes(name));
  return names.map((name, rank) => {
    const label = name.replace("suite/", "");
    return { label, colour: `c${rank % 4 + 1}`, values: metrics[name], before: suites_before?.[label] };
  });
}

// Held-out accuracy: before the run (step 0), during it, and after it.
function heldOutPoints(run) {
  const { metrics, before, after } = run;
  const steps = metrics.step || [];
  const points = steps.flatMap((step, i) => isNumber(metrics["eval/accuracy"]?.[i])
    ? [{ step, value: metrics["eval/accuracy"][i], low: metrics["eval/accuracy_low"]?.[i], high: metrics["eval/accuracy_high"]?.[i] }] : []);
  if (before?.accuracy) points.unshift({ step: 0, ...before.accuracy });
  if (after?.accuracy) points.push({ step: run.summary.steps, ...after.accuracy });
  return points;
}

function scalesOf(spec, series, points, steps) {
  const sums = steps.map((_, i) => series.reduce((sum, one) => sum + (one.values[i] || 0), 0));
  const values = spec.stack ? sums : series.flatMap((one) => [...one.values, ...(one.high || []), ...(one.low || [])]);
  const all = [...values, ...points.flatMap((p) => [p.low, p.high, p.value])].filter((v) => isNumber(v) && (!spec.log || v > 0));
  const first = points.some((point) => point.step < steps[0]) ? 0 : steps[0];
  const pad = spec.stack ? 0.5 : 0;
  const [start, end] = steps.length > 1 || first < steps[0] ? [first - pad, steps.at(-1) + pad] : [steps[0] - 1, steps[0] + 1];
  const ticks = spec.log ? logTicks(all) : niceTicks(Math.min(0, ...extent(all)), Math.max(...extent(all)), spec.integers);
  const place = spec.log ? Math.log10 : (v) => v;
  const [low, high] = [place(ticks[0]), place(ticks.at(-1))];
  const { width, height, left, right, top, bottom } = SIZE;
  return {
    ticks, start, end,
    x: (step) => left + ((step - start) / (end - start)) * (width - left - right),
    y: (value) => height - bottom - ((Math.max(low, place(value)) - low) / (high - low || 1)) * (height - top - bottom),
  };
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return values.length ? [low, high] : [0, 1];
}

function niceTicks(low, high, integers) {
  if (high <= low) high = low + 1;
  const rough = (high - low) / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  let gap = [1, 2, 2.5, 5, 10].find((factor) => factor * size >= rough * 0.999) * size;
  if (integers) gap = Math.max(1, Math.ceil(gap));
  const ticks = [];
  for (let i = Math.floor(low / gap + 1e-9); i <= Math.ceil(high / gap - 1e-9); i++) ticks.push(Number((i * gap).toPrecision(12)));
  return ticks;
}

function logTicks(values) {
  const [low, high] = values.length ? extent(values).map(Math.log10) : [-4, -2];
  const ticks = [];
  const [from, to] = [Math.floor(low), Math.max(Math.floor(low) + 1, Math.ceil(high))];
  const gap = Math.max(1, Math.ceil((to - from) / 5));
  for (let power = from; power < to + gap; power += gap) ticks.push(10 ** power);
  return ticks;
}

function drawAxes(picture, scale, spec) {
  const { width, height, left, right, bottom } = SIZE;
  const text = spec.log ? powerOfTen : spec.format ? (v) => percent(v, v && Math.abs(v) < 0.01 ? 1 : 0) : axisNumber;
  for (const tick of scale.ticks) {
    const y = scale.y(tick);
    picture.append(svg("line", { class: tick === 0 ? "axis" : "grid", x1: left, x2: width - right, y1: y, y2: y }));
    picture.append(svg("text", { class: "tick", x: left - 7, y: y + 3.5, "text-anchor": "end" }, text(tick)));
  }
  for (const tick of niceTicks(Math.ceil(scale.start), Math.floor(scale.end), true)) {
    if (tick < scale.start || tick > scale.end) continue;
    picture.append(svg("text", { class: "tick", x: scale.x(tick), y: height - bottom + 17, "text-anchor": "middle" }, tick.toLocaleString("en")));
  }
  picture.append(svg("text", { class: "tick axis-name", x: left - 7, y: height - bottom + 17, "text-anchor": "end" }, "step"));
}

const axisNumber = (value) => (Math.abs(value) >= 10000 ? `${number(value / 1000)}k` : number(value));
const powerOfTen = (value) => `10${[...String(Math.round(Math.log10(value)))].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] || "⁻").join("")}`;

function drawLine(picture, scale, one, steps, smoothed) {
  const usable = steps.map((step, i) => [step, one.values[i], i]).filter(([, value]) => isNumber(value));
  const path = (points) => points.map(([step, value], i) => `${i ? "L" : "M"}${scale.x(step).toFixed(1)} ${scale.y(value).toFixed(1)}`).join("");
  if (one.low && one.high) {
    const bounded = usable.filter(([, , i]) => isNumber(one.low[i]) && isNumber(one.high[i]));
    const upper = bounded.map(([step, , i]) => [step, one.high[i]]);
    const lower = bounded.map(([step, , i]) => [step, one.low[i]]).reverse();
    if (upper.length > 1) picture.append(svg("path", { class: `band ${one.colour}`, d: `${path(upper)}${path(lower).replace("M", "L")}Z` }));
  }
  const many = smoothed && usable.length > 60;
  picture.append(svg("path", { class: `line ${one.colour} ${many ? "faint" : ""}`, d: path(usable) }));
  if (many) picture.append(svg("path", { class: `line ${one.colour}`, d: path(smooth(usable)) }));
  else if (usable.length <= 25) usable.forEach(([step, value]) => picture.append(svg("circle", { class: `dot ${one.colour}`, cx: scale.x(step), cy: scale.y(value), r: 2.4 })));
}

// Centred moving mean over about a twentieth of the run.
function smooth(points) {
  const half = Math.max(2, Math.round(points.length / 40));
  return points.map(([step], i) => {
    const near = points.slice(Math.max(0, i - half), i + half + 1);
    return [step, near.reduce((sum, [, value]) => sum + value, 0) / near.length];
  });
}

function drawStack(picture, scale, series, steps) {
  const floor = steps.map(() => 0);
  const slot = Math.abs(scale.x(1) - scale.x(0));
  const width = slot > 4 ? Math.min(26, slot * 0.72) : slot + 0.4;
  for (const one of series) {
    let d = "";
    steps.forEach((step, i) => {
      const value = one.values[i];
      if (!isNumber(value) || value <= 0) return;
      const [bottom, top] = [scale.y(floor[i]), scale.y(floor[i] + value)];
      d += `M${(scale.x(step) - width / 2).toFixed(1)} ${bottom.toFixed(1)}h${width.toFixed(1)}V${top.toFixed(1)}h${(-width).toFixed(1)}Z`;
      floor[i] += value;
    });
    picture.append(svg("path", { class: `bar ${one.colour}`, d }));
  }
}

function drawPoints(picture, scale, points) {
  for (const { step, value, low, high, colour } of points) {
    const x = scale.x(step);
    if (isNumber(low) && isNumber(high)) picture.append(svg("path", { class: "whisker", d: `M${x} ${scale.y(low)}V${scale.y(high)}m-3.5 0h7M${x - 3.5} ${scale.y(low)}h7` }));
    picture.append(svg("circle", { class: colour ? `dot ${colour}` : "held-dot", cx: x, cy: scale.y(value), r: 3.8 }));
  }
}

// A triangle under the axis where something happened, and a shade over the steps that a trouble lasted.
function drawEventMarks(picture, scale, events) {
  const { height, top, bottom } = SIZE;
  const floor = height - bottom;
  const within = (step) => Math.min(scale.end, Math.max(scale.start, step));
  const trouble = events.filter((event) => event.warning);
  for (const { first, last } of trouble.filter((event) => event.last > event.first)) {
    const x = scale.x(within(first));
    picture.append(svg("rect", { class: "event-span", x, y: top, width: scale.x(within(last)) - x, height: floor - top }));
  }
  for (const { first, warning } of [...events.filter((event) => !event.warning), ...trouble]) { // trouble lies on top
    picture.append(svg("path", { class: `event ${warning ? "warning" : ""}`, d: `M${scale.x(within(first)).toFixed(1)} ${floor + 1}l4 7h-8Z` }));
  }
}

function addCursor(picture, scale, spec, series, points, steps, events) {
  const { width, height, left, right, top, bottom } = SIZE;
  const line = svg("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
  picture.append(line);
  cursors.push((step) => {
    line.setAttribute("visibility", step === null ? "hidden" : "visible");
    if (step !== null) { line.setAttribute("x1", scale.x(step)); line.setAttribute("x2", scale.x(step)); }
  });
  const nearest = (event) => {
    const box = picture.getBoundingClientRect();
    const at = scale.start + (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * (scale.end - scale.start);
    return steps.reduce((best, step, i) => (Math.abs(step - at) < Math.abs(steps[best] - at) ? i : best), 0);
  };
  picture.addEventListener("pointermove", (event) => {
    const i = nearest(event);
    cursors.forEach((move) => move(steps[i]));
    showTip(event, ...readings(spec, series, points, steps, i, events));
  });
  picture.addEventListener("pointerleave", () => { cursors.forEach((move) => move(null)); hideTip(); });
  picture.addEventListener("click", (event) => openStep(steps[nearest(event)]));
}

function readings(spec, series, points, steps, i, events) {
  const format = spec.format || number;
  const rows = series.map((one) => tipRow(one.label, one.low && isNumber(one.low[i])
    ? `${format(one.values[i])} [${format(one.low[i])}, ${format(one.high[i])}]` : format(one.values[i]), one.colour));
  const held = points.filter((point) => point.step === steps[i]);
  rows.push(...held.map((p) => tipRow("held out", `${format(p.value)} [${format(p.low)}, ${format(p.high)}]`, "held")));
  const here = events.filter((event) => event.first <= steps[i] && steps[i] <= event.last);
  rows.push(...here.slice(0, 4).map((event) => el("div", { class: `tip-event ${event.warning ? "warning" : ""}` }, `${event.kind} · ${event.text}`)));
  if (here.length > 4) rows.push(el("div", { class: "tip-event" }, `and ${here.length - 4} more`));
  return [el("div", { class: "tip-title" }, `step ${steps[i].toLocaleString("en")}`), ...rows];
}
