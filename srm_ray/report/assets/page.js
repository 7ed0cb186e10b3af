// Start, keep up with a run that goes on, keyboard, and the address (#step=4&search=text).

const NEWS_EVERY = 2000; // milliseconds

function trouble(text) {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text;
}

window.addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; trouble(`This page has a defect: ${event.message}`); });
window.addEventListener("unhandledrejection", (event) => { document.documentElement.dataset.error = event.reason; trouble(`This page could not read its data: ${event.reason}`); });

async function show(run) {
  const state = run.summary || {};
  run.before ||= state.before;
  run.after ||= state.after;
  if (!run.before && state.accuracy_before) run.before = { accuracy: state.accuracy_before };
  if (!run.after && state.accuracy_after) run.after = { accuracy: state.accuracy_after };
  drawOverview(run);
  drawEvaluation(run);
  drawCharts(run);
  await setSteps(run);
}

async function news() {
  try {
    const run = await loadRun();
    if (run) { const keep = new Set(run.steps.filter((step) => step < run.steps.at(-1))); forgetSteps(keep); await show(run); }
    trouble("");
  } catch (error) {
    trouble(`No answer from the server (${error.message}); the page shows what it last heard.`);
  }
  setTimeout(news, NEWS_EVERY);
}

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("step")) { view.step = Number(asked.get("step")); view.follow = false; }
  for (const [name, key] of [["search", "query"], ["scope", "scope"], ["grade", "verdict"]]) if (asked.has(name)) view[key] = asked.get(name);
  return Number(asked.get("group") || 0);
}

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) { event.preventDefault(); controls.query?.focus(); }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j" || (event.key === "ArrowDown" && event.target.id === "list")) { event.preventDefault(); choose(chosen + 1); }
  if (event.key === "k" || (event.key === "ArrowUp" && event.target.id === "list")) { event.preventDefault(); choose(chosen - 1); }
});
byId("list").addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
window.addEventListener("resize", drawRows);
window.addEventListener("scroll", hideTip, { passive: true, capture: true });

(async () => {
  const group = readAddress();
  await show(await loadRun());
  if (group) await choose(group);
  document.documentElement.dataset.ready = "yes";
  if (live) setTimeout(news, NEWS_EVERY);
})();
