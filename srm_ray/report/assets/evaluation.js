// An evaluation: scores by suite with their intervals, and what was gained and lost against the parent.

function drawEvaluation(run) {
  const found = run.evaluation;
  byId("evaluation").hidden = !found;
  for (const id of ["summary", "curves", "events"]) byId(id).hidden = Boolean(found);
  if (!found) return;
  byId("status").className = "chip complete";
  byId("status").textContent = `evaluation · ${plural(found.suites.length, "suite")}`;
  byId("scores").replaceChildren(el("p", { class: "quiet" }, found.model), scoresTable(found.suites));
  byId("tax").replaceChildren(...(found.tax ? taxFigure(found.tax) : []));
}

function scoresTable(suites) {
  const rate = (share) => (share ? percent(share.value) : "–");
  const head = ["suite", "metric", "score", "95 % interval", "n", "finished", "boxed", "truncated", "tokens"];
  const rows = suites.flatMap((one, rank) => [
    [el("button", { class: "link", onclick: () => openStep(rank + 1) }, one.suite), one.metric.replace(",none", ""), percent(one.score.value), bounds(one.score), one.score.n.toLocaleString("en"),
      rate(one.finished), rate(one.boxed), rate(one.truncated), isNumber(one.tokens_mean) ? one.tokens_mean.toFixed(0) : "–"],
    ...Object.entries(one.more).map(([name, share]) => ["", name.replace(",none", ""), percent(share.value), bounds(share), share.n.toLocaleString("en"), "", "", "", ""]),
  ]);
  return el("table", { class: "score-table" }, el("thead", {}, el("tr", {}, head.map((text) => el("th", {}, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))))));
}

const bounds = (share) => `${(100 * share.low).toFixed(1)} – ${(100 * share.high).toFixed(1)}`;

const VERDICTS = { loss: ["held", "loss"], gain: ["c3", "gain"], "": ["c0", "within noise"] };

// One bar a suite, the 95 % interval of the delta, around zero.
function taxFigure(tax) {
  const reach = Math.max(0.02, ...tax.suites.flatMap((one) => [Math.abs(one.low), Math.abs(one.high)])) * 1.05;
  const x = (delta) => 300 + (delta / reach) * 180;
  const height = 30 + tax.suites.length * 30;
  const picture = svg("svg", { viewBox: `0 0 860 ${height}`, class: "intervals tax", role: "img", "aria-label": "change against the parent in points, with 95 % intervals" });
  for (const tick of [-reach, -reach / 2, 0, reach / 2, reach]) {
    picture.append(svg("line", { class: tick === 0 ? "axis" : "grid", x1: x(tick), x2: x(tick), y1: 2, y2: height - 22 }));
    picture.append(svg("text", { class: "tick", x: x(tick), y: height - 7, "text-anchor": "middle" }, signed(100 * tick, 1)));
  }
  tax.suites.forEach((one, rank) => {
    const y = 18 + rank * 30;
    const [colour, word] = VERDICTS[one.verdict];
    picture.append(svg("text", { class: "row-name", x: 110, y: y + 4, "text-anchor": "end" }, one.suite));
    picture.append(svg("rect", { class: `bar ${colour} span`, x: x(one.low), y: y - 7, width: Math.max(2, x(one.high) - x(one.low)), height: 14, rx: 7 }));
    picture.append(svg("circle", { class: `mark ${colour}`, cx: x(one.delta), cy: y, r: 5 }));
    picture.append(svg("text", { class: "row-value", x: 500, y: y + 4 }, svg("tspan", { class: "strong" }, signed(100 * one.delta, 1)), `  ${word}  (${percent(one.parent.value)} → ${percent(one.model.value)})`));
  });
  const losses = tax.real_losses.length ? `Real losses: ${tax.real_losses.join(", ")}.` : "No real loss.";
  return [el("h3", {}, `Against ${tax.parent}, in points, paired bootstrap`), picture, el("p", { class: "quiet" }, losses)];
}
