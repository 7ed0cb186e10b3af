// A completion, token by token: thinking and answer apart, colour by surprise or weight version.

const MANY_TOKENS = 3000; // drawn at once; the rest on request
const MISMATCHES = [0.001, 0.01, 0.05, 0.2, 1]; // |Δ log p| of learner and sampler at which a token is coloured, nats

// Where thinking ends in `text`: [start, end) of the closing tag, of whatever family, or null without thinking.
function thinkingEnd(text, prompt, cut) {
  for (const [, close] of THINKING) {
    const at = text.indexOf(close);
    if (at >= 0) return [at, at + close.length];
  }
  const opened = THINKING.some(([open]) => prompt.trimEnd().endsWith(open) || text.trimStart().startsWith(open));
  return opened && cut ? [text.length, text.length] : null;
}

// One string a token. A character spread over several tokens appears at the last of them.
function piecesOf(ids, vocabulary) {
  const decoder = new TextDecoder("utf-8");
  return ids.map((id) => {
    const bytes = vocabulary[id];
    if (bytes === undefined) return `[${id}]`;
    return decoder.decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)), { stream: true });
  });
}

// Version of each token, from [version, count] runs.
const versionsOf = (runs) => runs.flatMap(([version, count]) => Array(count).fill(version));

function plainSections(completion, prompt, query) {
  const { text } = completion;
  const end = thinkingEnd(text, prompt, completion.finish === "length");
  const marked = (part) => markQuery(part, query);
  if (!end) return { thinking: null, answer: [marked(text.trim())] };
  return { thinking: [marked(text.slice(0, end[0]).trim())], answer: [marked(text.slice(end[1]).trim())] };
}

function markQuery(text, query) {
  const part = document.createElement("span");
  if (!query) { part.textContent = text; return part; }
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(query); at >= 0; at = lower.indexOf(query, from)) {
    part.append(text.slice(from, at), el("mark", {}, text.slice(at, at + query.length)));
    from = at + query.length;
  }
  part.append(text.slice(from));
  return part;
}

function tokenSections(completion, tokens, vocabulary, prompt, query, all) {
  const pieces = piecesOf(tokens.ids, vocabulary);
  const text = pieces.join("");
  const end = thinkingEnd(text, prompt, completion.finish === "length");
  const hits = query ? rangesOf(text.toLowerCase(), query) : [];
  const newest = versionsOf(completion.versions);
  const top = Math.max(...newest);
  const parts = { thinking: end ? [] : null, answer: [] };
  let offset = 0;
  pieces.forEach((piece, i) => {
    const [from, to] = [offset, (offset += piece.length)];
    if (i >= MANY_TOKENS && !all) return;
    const inThinking = end && from < end[1];
    const place = inThinking ? parts.thinking : parts.answer;
    const node = tokenNode(piece, i, place.length === 0);
    if (end && from < end[1] && to > end[0]) node.classList.add("tag");
    if (i === pieces.length - 1 && !completion.text.endsWith(piece)) node.classList.add("tag");
    if (hits.some(([start, stop]) => from < stop && to > start)) node.classList.add("hit");
    colourToken(node, i, tokens, newest, top);
    place.push(node);
  });
  return parts;
}

function colourToken(node, i, tokens, newest, top) {
  const surprise = Math.min(5, Math.ceil(-tokens.logprobs[i] / 0.7 - 0.15));
  if (surprise > 0) node.classList.add(`s${surprise}`);
  const apart = MISMATCHES.filter((limit) => Math.abs(tokens.mismatch?.[i]) >= limit).length;
  if (apart) node.classList.add(`m${apart}`);
  if (newest.length) node.classList.add(`v${Math.min(4, top - newest[i])}`);
}

// An episode turn by turn: [name, nodes] of what was sampled and of what the environment said to it.
function episodeSections(completion, tokens, vocabulary, query, spelled) {
  const pieces = spelled ? piecesOf(tokens.ids, vocabulary) : [];
  const newest = versionsOf(completion.versions);
  const top = Math.max(...newest);
  return completion.episode.turns.flatMap((turn, place) => {
    const sampled = !spelled ? [markQuery(turn.text, query)] : pieces.slice(turn.start, turn.end).map((piece, n) => {
      const node = tokenNode(piece, turn.start + n, n === 0);
      if (turn.start + n === turn.end - 1 && !turn.text.endsWith(piece)) node.classList.add("tag");
      colourToken(node, turn.start + n, tokens, newest, top);
      return node;
    });
    const earned = isNumber(turn.reward) ? ` reward ${number(turn.reward)}` : "";
    const said = turn.calls.map((call) => [`${call.name || "?"}(${JSON.stringify(call.arguments)})${call.error ? " failed" : ""}`, call.result]);
    if (turn.observation || earned) said.push([`environment${earned}`, turn.observation]);
    return [[`turn ${place + 1}`, sampled], ...said.map(([name, text]) => [name, [markQuery(text, query)]])];
  });
}

// A line break that opens a section is shown as a sign, so that it does not push the text down.
function tokenNode(piece, position, first) {
  const node = el("span", { class: "t" }, first && piece.trim() === "" ? piece.replaceAll("\n", "↵") : piece);
  node.position = position;
  if (first && piece.trim() === "") node.classList.add("tag");
  return node;
}

function rangesOf(text, query) {
  const ranges = [];
  for (let at = text.indexOf(query); at >= 0 && ranges.length < 500; at = text.indexOf(query, at + query.length)) ranges.push([at, at + query.length]);
  return ranges;
}

function tokenTip(event, completion, tokens, vocabulary) {
  const i = event.target.position;
  if (i === undefined) return hideTip();
  const [id, logprob] = [tokens.ids[i], tokens.logprobs[i]];
  const bytes = vocabulary[id];
  const text = bytes === undefined ? "text unknown" : JSON.stringify(piecesOf([id], vocabulary)[0]);
  const version = versionsOf(completion.versions)[i];
  const apart = tokens.mismatch?.[i];
  const nats = (value, digits) => (isNumber(value) ? `${minus(value.toFixed(digits))} nats` : "–");
  return showTip(event, el("div", { class: "tip-title mono" }, text),
    tipRow("token id", String(id)), tipRow("position", `${i + 1} of ${tokens.ids.length}`),
    tipRow("log-probability", nats(logprob, 3)), tipRow("probability", isNumber(logprob) ? percent(Math.exp(logprob)) : "–"),
    ...(isNumber(apart) ? [tipRow("to the learner", nats(logprob + apart, 3)), tipRow("mismatch", nats(apart, 5))] : [tipRow("to the learner", "not trained on")]),
    tipRow("weight version", version === undefined ? "–" : String(version)));
}
