// The rollout viewer: a list of groups (only visible rows exist), and one group's completions side by side.

const ROW = 58; // height of a row of the list, in pixels
const view = { step: null, scope: "step", verdict: "all", kept: "all", low: "", high: "", query: "", colour: "surprise", follow: live };
const controls = {};
let steps = [];
let stepNames = {}; // of an evaluation, whose samples stand suite by suite
let found = []; // {step, index, group, hits: which completions match}
let chosen = 0;
let searching = 0; // number of the search under way: an older one stops

async function setSteps(run) {
  const before = steps.at(-1);
  const same = String(steps) === String(run.steps);
  steps = run.steps;
  stepNames = run.step_names || {};
  if (!controls.step) buildToolbar();
  if (same && before !== undefined) return; // a menu that a person has open stays open
  controls.step.replaceChildren(...steps.map((step) => el("option", { value: step }, stepNames[step] || `step ${step}`)));
  showEmbedded(run);
  const grew = steps.at(-1) !== before;
  if (view.step === null || !steps.includes(view.step) || (grew && view.follow)) view.step = steps.at(-1) ?? null;
  controls.step.value = view.step;
  const reading = before !== undefined && !view.follow;
  if (reading && view.scope === "step" && view.step < before) return; // what is being read has not changed
  await search(reading);
}

function showEmbedded(run) {
  const notes = [];
  if (!live && run.steps.length < run.steps_on_disk) {
    notes.push(`This file holds the completions of ${run.steps.length} of ${run.steps_on_disk} steps, the newest and a spread of the others; all of them would make it too large.`);
  }
  for (const [step, [kept, total]] of Object.entries(run.cut || {})) notes.push(`Of step ${step}, ${kept.toLocaleString("en")} of ${total.toLocaleString("en")} completions are here.`);
  if (run.without_tokens?.length) notes.push(`Tokens are left out of step ${run.without_tokens.join(", ")}.`);
  if (notes.length) notes.push("All of it is in the run folder: python -m srm_ray.view serves it whole.");
  byId("embedded-note").hidden = !notes.length;
  byId("embedded-note").textContent = notes.join(" ");
}

function buildToolbar() {
  const again = () => search();
  const select = (name, options) => {
    controls[name] = el("select", { "aria-label": name, onchange: (event) => { view[name] = event.target.value; again(); } },
      options.map(([value, label]) => el("option", { value, selected: view[name] === value }, label)));
    return controls[name];
  };
  const bound = (name, hint) => (controls[name] = el("input", { type: "number", step: "any", class: "bound", placeholder: hint, "aria-label": `${hint} reward`, value: view[name], oninput: later((event) => { view[name] = event.target.value; again(); }) }));
  controls.step = el("select", { "aria-label": "step", onchange: (event) => openStep(Number(event.target.value), false) });
  controls.query = el("input", { type: "search", placeholder: "Search prompts and completions  ( / )", "aria-label": "search", value: view.query, oninput: later((event) => { view.query = event.target.value; again(); }) });
  const follow = live ? el("label", { class: "check" }, controls.follow = el("input", { type: "checkbox", checked: view.follow, onchange: (event) => { view.follow = event.target.checked; } }), "follow newest") : null;
  byId("toolbar").replaceChildren(
    el("div", { class: "tools" }, el("button", { "aria-label": "step before", onclick: () => moveStep(-1) }, "‹"), controls.step, el("button", { "aria-label": "next step", onclick: () => moveStep(1) }, "›"), follow),
    el("div", { class: "tools grow" }, controls.query, select("scope", [["step", "in this step"], ["all", live ? "in all steps" : "in all steps here"]])),
    el("div", { class: "tools" }, select("verdict", [["all", "any grade"], ["right", "correct"], ["wrong", "wrong"], ["undecided", "undecided"]]),
      select("kept", [["all", "all groups"], ["kept", "trained on"], ["dropped", "no signal"]]), el("span", { class: "quiet" }, "reward"), bound("low", "least"), bound("high", "most")),
    el("div", { class: "tools" }, el("span", { class: "quiet" }, "colour"), colourControl()));
}

function colourControl() {
  return el("select", { "aria-label": "colour of tokens", onchange: (event) => { view.colour = event.target.value; byId("group").dataset.colour = view.colour; drawLegend(); } },
    [["surprise", "by surprise"], ["mismatch", "by mismatch"], ["version", "by weight version"], ["none", "off"]].map(([value, label]) => el("option", { value, selected: view.colour === value }, label)));
}

function later(action) {
  let timer;
  return (event) => { clearTimeout(timer); timer = setTimeout(() => action(event), 160); };
}

function openStep(step, scroll = true) {
  if (!steps.length) return;
  view.step = steps.reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best), steps[0]);
  view.follow = false;
  if (controls.follow) controls.follow.checked = false;
  controls.step.value = view.step;
  view.scope = controls.scope.value = "step";
  if (scroll) byId("rollouts").scrollIntoView({ behavior: "smooth" });
  search();
}

const moveStep = (by) => openStep(steps[Math.min(steps.length - 1, Math.max(0, steps.indexOf(view.step) + by))], false);

// Searching

function fits(completion, query) {
  if (view.verdict !== "all" && view.verdict !== verdictOf(completion)) return false;
  if (view.low !== "" && !(completion.reward >= Number(view.low))) return false;
  if (view.high !== "" && !(completion.reward <= Number(view.high))) return false;
  if (!query) return true;
  completion.lower ??= completion.text.toLowerCase();
  return completion.lower.includes(query);
}

const verdictOf = ({ correct }) => (correct === true ? "right" : correct === false ? "wrong" : "undecided");

function matchGroup(step, group, index, query) {
  if (view.kept !== "all" && (view.kept === "kept") !== (group.kept === true)) return null;
  group.lower ??= `${group.prompt}\n${group.gold ?? ""}`.toLowerCase();
  const asked = query && group.lower.includes(query) ? "" : query;
  const hits = group.completions.map((completion) => fits(completion, asked));
  return hits.includes(true) ? { step, group, index, hits } : null;
}

async function search(stay = false) {
  const mine = ++searching;
  const query = view.query.trim().toLowerCase();
  const among = view.scope === "all" ? [...steps].reverse() : steps.filter((step) => step === view.step);
  const matches = [];
  for (const step of among) {
    const texts = await loadStep("texts", step);
    if (mine !== searching) return;
    (texts?.groups || []).forEach((group, index) => { const match = matchGroup(step, group, index, query); if (match) matches.push(match); });
    if (among.length > 1) showCount(matches, `reading step ${step} …`);
  }
  const held = stay && found[chosen] ? matches.findIndex((one) => one.step === found[chosen].step && one.index === found[chosen].index) : -1;
  found = matches;
  showCount(matches);
  byId("rows").style.height = `${found.length * ROW}px`;
  if (!stay) byId("list").scrollTop = 0;
  await choose(Math.max(0, held), !stay);
}

function showCount(matches, doing = "") {
  const all = matches.reduce((sum, one) => sum + one.group.completions.length, 0);
  const hits = matches.reduce((sum, one) => sum + one.hits.filter(Boolean).length, 0);
  byId("rollouts-note").textContent = doing || `${plural(matches.length, "group")}, ${hits === all ? plural(all, "completion") : `${hits.toLocaleString("en")} of ${plural(all, "completion")} match`}`;
}

// The list

function drawRows() {
  const list = byId("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  const rows = [];
  for (let i = first; i < last; i++) rows.push(rowOf(found[i], i));
  byId("rows").replaceChildren(...(rows.length ? rows : [el("p", { class: "quiet empty" }, steps.length ? "No completion matches." : "No completions yet.")]));
}

function rowOf({ step, group, hits }, i) {
  const mean = group.completions.reduce((sum, one) => sum + (one.reward || 0), 0) / group.completions.length;
  const row = el("div", { class: `row ${i === chosen ? "chosen" : ""} ${group.kept ? "" : "unkept"}`, role: "option", "aria-selected": i === chosen ? "true" : "false", onclick: () => choose(i) },
    el("div", { class: "question" }, questionOf(group.prompt)),
    el("div", { class: "row-foot" }, el("span", { class: "dots" }, group.completions.slice(0, 32).map((one, n) => el("i", { class: `pip ${verdictOf(one)} ${hits[n] ? "" : "dim"}` }))),
      el("span", {}, view.scope === "all" ? `step ${step}` : `#${group.prompt_index}`), el("span", { class: "mean" }, `mean ${number(mean)}`)));
  row.style.top = `${i * ROW}px`;
  return row;
}

// The prompt without chat markup, for a list.
const MARKUP = new RegExp(`(?:${MARK})(?:(?:system|developer|user|assistant|model|tool)\\b)?|</?s>|<bos>|\\[gMASK\\]|<sop>`, "g");
const questionOf = (prompt) => THINKING.flat().reduce((text, tag) => text.replaceAll(tag, " "), prompt.replace(MARKUP, " ")).replace(/\s+/g, " ").trim().slice(0, 160);

async function choose(i, scroll = true) {
  chosen = Math.min(Math.max(0, i), Math.max(0, found.length - 1));
  const list = byId("list");
  if (scroll && chosen * ROW < list.scrollTop) list.scrollTop = chosen * ROW;
  if (scroll && (chosen + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (chosen + 1) * ROW - list.clientHeight;
  drawRows();
  await drawGroup();
}

// One group

async function drawGroup() {
  const match = found[chosen];
  const place = byId("group");
  place.dataset.colour = view.colour;
  if (!match) return place.replaceChildren();
  const mine = searching;
  const tokens = await loadStep("tokens", match.step);
  if (mine !== searching || match !== found[chosen]) return;
  const { group, step, hits, index } = match;
  const cards = group.completions.map((completion, n) => completionCard(completion, group, hits[n], tokens?.groups[index]?.[n], tokens?.vocabulary || {}));
  place.replaceChildren(groupHead(group, step), el("div", { class: "legend", id: "legend" }), el("div", { class: "cards" }, cards));
  drawLegend();
}

function groupHead(group, step) {
  const info = stepNames[step] ? [stepNames[step], `problem ${group.prompt_index}`] : [`step ${step}`, `prompt ${group.prompt_index}`, group.draw ? `draw ${group.draw}` : "", group.kept ? "trained on" : "not trained on"].filter(Boolean);
  return el("div", { class: "group-head" }, el("div", { class: "info" }, info.map((fact) => el("span", { class: "chip" }, fact))),
    el("pre", { class: "prompt" }, markQuery(group.prompt, view.query.trim().toLowerCase())),
    group.gold === null || group.gold === undefined ? null : el("p", { class: "gold" }, el("span", { class: "quiet" }, "gold answer "), el("b", { class: "mono" }, String(group.gold))));
}

function drawLegend() {
  const legend = byId("legend");
  if (!legend) return;
  const items = { surprise: [["", "probability of a token:"], ["t s1", "< .9"], ["t s2", "< .45"], ["t s3", "< .22"], ["t s4", "< .11"], ["t s5", "< .05"]], mismatch: [["", "learner against sampler, |Δ log p|:"], ["t m1", "≥ .001"], ["t m2", "≥ .01"], ["t m3", "≥ .05"], ["t m4", "≥ .2"], ["t m5", "≥ 1 nat"]], version: [["t v0", "newest version of the completion"], ["t v1", "1 older"], ["t v2", "2"], ["t v3", "3"], ["t v4", "4 or more"]], none: [] };
  legend.replaceChildren(...items[view.colour].map(([name, label]) => el("span", {}, name ? el("i", { class: name }) : null, label)));
}

const MARKS = { right: "✓", wrong: "✗", undecided: "?" };

function completionCard(completion, group, hit, tokens, vocabulary) {
  const verdict = verdictOf(completion);
  const spread = Math.max(1, ...group.completions.map((one) => Math.abs(one.advantage || 0)));
  const versions = completion.versions.map(([version]) => version);
  const span = versions.length ? `v${Math.min(...versions)}${versions.length > 1 ? `–${Math.max(...versions)}` : ""}` : "";
  const parts = Object.entries(completion.parts || {}).map(([name, value]) => el("span", { class: "part" }, `${name} `, el("b", {}, number(value))));
  return el("article", { class: `completion ${verdict} ${hit ? "" : "dim"}` },
    el("header", {}, el("span", { class: `verdict ${verdict}` }, `${MARKS[verdict]} ${String(completion.reason ?? "").replaceAll("_", " ")}`), el("span", { class: "reward" }, number(completion.reward), el("small", {}, " reward"))),
    el("div", { class: "scores" }, parts, advantageBar(completion.advantage, spread)),
    body(completion, group, tokens, vocabulary),
    el("footer", {}, [`#${completion.sample}`, plural(completion.tokens, "token"), completion.finish === "length" ? "cut at the limit" : completion.finish, span, completion.worker, `seed ${completion.seed}`].filter(Boolean).map((text) => el("span", {}, text))));
}

function advantageBar(advantage, spread) {
  const share = Math.min(1, Math.abs(advantage || 0) / spread);
  const bar = svg("svg", { viewBox: "0 0 60 10", class: "advantage-bar", "aria-hidden": "true" }, svg("line", { class: "axis", x1: 30, x2: 30, y1: 0, y2: 10 }),
    svg("rect", { class: advantage < 0 ? "down" : "up", x: advantage < 0 ? 30 - 29 * share : 30, y: 2, width: 29 * share, height: 6, rx: 1.5 }));
  return el("span", { class: "advantage", title: "advantage, against the rest of the group" }, "advantage ", el("b", {}, signed(advantage)), bar);
}

function body(completion, group, tokens, vocabulary, all = false) {
  const query = view.query.trim().toLowerCase();
  const spelled = tokens && Object.keys(vocabulary).length > 0;
  if (completion.episode?.turns.length) return episodeBody(completion, tokens, vocabulary, query, spelled);
  const { thinking, answer } = spelled ? tokenSections(completion, tokens, vocabulary, group.prompt, query, all) : plainSections(completion, group.prompt, query);
  const isEmpty = (nodes) => nodes.every((node) => node.classList.contains("tag") || node.textContent.trim() === "");
  const section = (name, nodes) => el("div", { class: `part-text ${name}` }, el("span", { class: "part-name" }, name), el("div", { class: "text", dir: "auto" }, isEmpty(nodes) ? el("span", { class: "quiet" }, "none ") : null, nodes));
  const node = el("div", { class: "body" }, thinking ? section("thinking", thinking) : null, section("answer", answer));
  if (tokens?.ids.length && !spelled) node.append(section("tokens", tokens.ids.slice(0, all ? Infinity : 400).map((id, i) => tokenNode(`${id} `, i, false))));
  if (tokens && tokens.ids.length > MANY_TOKENS && !all) node.append(el("button", { onclick: () => node.replaceWith(body(completion, group, tokens, vocabulary, true)) }, `show all ${plural(tokens.ids.length, "token")}`));
  if (tokens) { node.addEventListener("mouseover", (event) => tokenTip(event, completion, tokens, vocabulary)); node.addEventListener("mouseleave", hideTip); }
  return node;
}

function episodeBody(completion, tokens, vocabulary, query, spelled) {
  const sections = episodeSections(completion, tokens, vocabulary, query, spelled).map(([name, nodes]) => el("div", { class: `part-text ${name.startsWith("turn ") ? "answer" : "thinking"}` },
    el("span", { class: "part-name" }, name), el("div", { class: "text", dir: "auto" }, nodes)));
  const ending = completion.episode.failure ? `the environment failed: ${completion.episode.failure.replaceAll("_", " ")}` : completion.episode.truncated ? `cut: no more ${completion.episode.truncated}` : "";
  const node = el("div", { class: "body" }, sections, ending ? el("p", { class: "quiet" }, ending) : null);
  if (spelled) { node.addEventListener("mouseover", (event) => tokenTip(event, completion, tokens, vocabulary)); node.addEventListener("mouseleave", hideTip); }
  return node;
}
