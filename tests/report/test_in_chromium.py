"""The page in a real browser: what is drawn, what is hovered, filtered and searched, and how fast."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewards.extract import THINKING
from srm_ray.model.chat_template import render_text
from srm_ray.report.page import write_report
from srm_ray.report.server import ReportServer
from tests.model.toy_tokenizers import FAMILIES, family
from tests.report import browser, example_run

PROGRAM = browser.find()
NO_CHROMIUM = "NOT TESTED: the report's page needs Chromium (apt-get install chromium), and there is none"
pytestmark = [pytest.mark.integration, pytest.mark.skipif(PROGRAM is None, reason=NO_CHROMIUM)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    assert PROGRAM is not None
    with browser.start(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_what_is_drawn(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "my run", steps=3)).as_uri())
    assert page.text("#name") == "my run"
    assert page.text("#status") == "complete · 3 steps"
    summary = page.text("#summary")
    for expected in ("+29.0", "do not touch", "43.0 %", "72.0 %", "40.0 %→94.0 %", "8.2→19.5", "3 of 3"):
        assert expected in summary
    titles = page.evaluate("[...document.querySelectorAll('.chart figcaption b')].map(b => b.textContent)")
    assert titles[:7] == ["Reward", "Accuracy", "Completion length", "Entropy", "Mismatch", "Staleness", "Step time"]
    assert page.evaluate("document.querySelectorAll('.chart .held-dot').length") == 2
    assert page.text("#more-charts figcaption b") == "reward/undecided"  # what no chart is made for is shown too
    assert page.text("#more-count") == "Other metrics (1)"
    assert "NaN" not in page.evaluate("document.querySelector('#charts').innerHTML")
    told = page.text("#event-list")
    for expected in ("continued from a checkpoint once", "rollout-0 replaced: the engine", "2 rollout workers"):
        assert expected in told
    assert "steps 2" not in told  # the alarm was over in step 3
    assert page.evaluate(
        "[...document.querySelectorAll('.chart')].every(c => c.querySelectorAll('.event').length >= 3)"
    )
    page.hover("document.querySelector('.chart .event.warning')")
    page.wait("!tip.hidden")
    assert "alarm: truncated · 60% of the completions were cut" in page.text("#tip")
    assert "group_size" in page.text("#config-list")
    assert page.text("#rollouts-note") == "4 groups, 16 completions"
    assert page.evaluate("document.querySelectorAll('article.completion').length") == 4
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "about:"))] == []


def test_suites_measured_in_training(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=4)
    example_run.add_suites(
        folder, start={"gsm8k": 0.25, "svamp": 0.5}, measured={2: (0.5, 0.5), 4: (0.75, 0.125)}, best=2
    )
    page.open(write_report(folder).as_uri())
    chart = "[...document.querySelectorAll('.chart')].find(c => c.querySelector('b').textContent === 'Suites')"
    assert page.evaluate(f"[...{chart}.querySelectorAll('.keys span')].map(s => s.textContent)") == ["gsm8k", "svamp"]
    assert page.evaluate(f"{chart}.querySelectorAll('circle.dot').length") == 2 * 3  # before, and after steps 2 and 4
    told = page.text("#event-list")
    assert "suites gsm8k 50.0%, svamp 50.0%: kept, the best so far" in told
    assert "suites gsm8k 75.0%, svamp 12.5%" in told
    assert "suite/" not in page.text("#more-charts")


def test_an_episode_is_shown_turn_by_turn(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=1)
    example_run.add_episode(folder, 1)
    page.open(write_report(folder).as_uri())
    card = "document.querySelector('article.completion')"
    parts = page.evaluate(
        f"[...{card}.querySelectorAll('.part-text')].map(p => [...p.children].map(c => c.textContent))"
    )
    assert parts == [
        ["turn 1", "let me add<call>"],
        ['add({"a":1,"b":2})', "<b>3</b>"],
        ["turn 2", "it is 3<|im_end|>"],
    ]
    assert "cut: no more turns" in page.evaluate(f"{card}.textContent")
    assert page.evaluate(f"{card}.querySelectorAll('.part-text')[1].querySelectorAll('.t').length") == 0
    page.hover(f"{card}.querySelectorAll('.part-text')[2].querySelector('.t')")
    page.wait("!tip.hidden")
    assert "25 of 32" in page.text("#tip")


def test_every_step_and_group_can_be_opened(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "r", steps=3, groups=5)).as_uri())
    seen = page.evaluate(
        "(async () => { const seen = []; for (const step of steps) { view.step = step; await search();"
        " for (let i = 0; i < found.length; i++) { await choose(i);"
        " seen.push([...document.querySelectorAll('.info .chip')].map(c => c.textContent).slice(0, 2).join()); } }"
        " return seen; })()"
    )
    assert seen == [f"step {step},prompt {1000 * step + number}" for step in (1, 2, 3) for number in range(5)]


def test_hostile_text_stays_text(page: browser.Page, tmp_path: Path) -> None:
    texts = {3: example_run.HOSTILE + " \u202egnp.exe\u0000 日本語 🙂"}
    page.open(write_report(example_run.make(tmp_path / "r", texts=texts)).as_uri())
    assert page.evaluate("document.title") == "r · srm_ray run"
    answer = page.text("article.completion .answer .text")
    assert example_run.HOSTILE in answer
    assert "日本語 🙂" in answer  # each character is several tokens here
    assert page.evaluate("document.querySelectorAll('#group b b, #group img, #group script').length") == 0


def test_prompts_and_thinking_of_every_family(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "r", steps=1)).as_uri())
    for name in FAMILIES:
        prompt = render_text(family(name), [{"role": "user", "content": "How many sheep?"}], add_generation_prompt=True)
        assert page.evaluate(f"questionOf({json.dumps(prompt)})").endswith("How many sheep?")
        assert not page.evaluate(f"/[<>\\[\\]|]/.test(questionOf({json.dumps(prompt)}))"), name
    for begin, close in THINKING:
        text = f"{begin}two{close}so 2"
        place = [len(text) - len(close) - 4, len(text) - 4]
        assert page.evaluate(f"thinkingEnd({json.dumps(text)}, '', false)") == place
        assert page.evaluate(f"thinkingEnd('two', {json.dumps('x' + begin)}, true)") == [3, 3]
        assert page.evaluate(f"thinkingEnd('two', {json.dumps('x' + begin)}, false)") is None


def spoiled_texts(node: Any) -> Any:
    """Every text and name in it hostile, beside what it says."""
    if isinstance(node, dict):
        return {name: spoiled_texts(value) for name, value in node.items()} | {example_run.HOSTILE: 1.0}
    if isinstance(node, list):
        return [spoiled_texts(one) for one in node]
    return node + example_run.HOSTILE if isinstance(node, str) else node


def test_hostile_text_anywhere_stays_text(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "<img src=x onerror=\"document.title='owned'\">", steps=3)
    example_run.add_episode(folder, 1)
    page.open(write_report(folder).as_uri())
    count = "document.querySelectorAll('script, img, iframe, object, link').length"
    sound = page.evaluate(count)
    for file in [*folder.path.rglob("*.jsonl"), *folder.path.glob("*.json")]:
        lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
        file.write_text("\n".join(json.dumps(spoiled_texts(json.loads(line))) for line in lines) + "\n")
    page.open(write_report(folder).as_uri() + "#scope=all")
    shown = page.evaluate("document.body.textContent")
    assert shown.count("onerror") > 10
    for part in ("Needle", example_run.HOSTILE):
        page.evaluate(f"(async () => {{ view.query = {json.dumps(part)}; await search(); }})()")
    page.hover("document.querySelector('.chart .event')")
    page.wait("!tip.hidden")
    assert page.evaluate(count) == sound
    assert page.evaluate("document.querySelectorAll('b b').length") == 0
    assert "owned" not in page.evaluate("document.title").replace("document.title='owned'", "")


def test_hover_tells_a_token(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "r")).as_uri())
    assert page.text("article .thinking .text").endswith("</think>")
    page.hover("document.querySelectorAll('article .answer .t')[2]")
    page.wait("!tip.hidden")
    told = page.text("#tip")
    for name in ("token id", "position", "log-probability", "nats", "weight version2"):
        assert name in told


def test_hover_tells_what_the_learner_says_of_a_token(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "r")).as_uri())
    page.evaluate("(async () => { view.kept = 'kept'; await search(); })()")
    page.hover("document.querySelectorAll('article .answer .t')[2]")
    page.wait("!tip.hidden")
    sampled, learner, apart = page.evaluate(
        "['log-probability', 'to the learner', 'mismatch'].map(name => Number([...tip.querySelectorAll('.tip-row')]"
        ".find(r => r.textContent.startsWith(name)).querySelector('b').textContent.replace('−', '-').split(' ')[0]))"
    )
    assert apart != 0
    assert learner - sampled == pytest.approx(apart, abs=2e-3)
    page.evaluate("(async () => { view.kept = 'dropped'; await search(); })()")
    if page.evaluate("found.length"):
        page.hover("document.querySelectorAll('article .answer .t')[2]")
        page.wait("tip.textContent.includes('not trained on')")


def test_tokens_coloured_by_mismatch(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "r", groups=8)).as_uri())
    page.evaluate("(async () => { view.kept = 'kept'; view.colour = 'mismatch'; await search(); })()")
    assert page.evaluate("document.querySelectorAll('article .t.m4').length") > 0
    assert "≥ .01" in page.text("#legend")


def test_filters_and_search(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=4, groups=6, texts={2: "a Needle here"})
    page.open(write_report(folder).as_uri() + "#search=needle&scope=all")
    assert page.text("#rollouts-note") == "1 group, 1 of 4 completions match"
    assert page.text(".info .chip") == "step 2"
    assert page.evaluate("document.querySelectorAll('article .t.hit').length") == len("needle")
    assert page.evaluate("document.querySelectorAll('article.dim').length") == 3
    page.open(folder.report.as_uri() + "#grade=right&scope=all")
    hits = page.evaluate("found.flatMap(m => m.group.completions.filter((c, i) => m.hits[i]).map(c => c.correct))")
    assert hits
    assert all(hits)
    page.evaluate("(async () => { view.verdict = 'all'; view.low = '0.5'; await search(); })()")
    least = page.evaluate(
        "Math.min(...found.flatMap(m => m.group.completions.filter((c, i) => m.hits[i]).map(c => c.reward)))"
    )
    assert least == 1.0


def test_without_a_tokenizer_ids_are_shown(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=1)
    (folder.final / "tokenizer.json").unlink()
    page.open(write_report(folder).as_uri())
    assert "\\boxed" in page.text("article .answer .text")
    assert page.text("article .tokens .text").split()[0].isdigit()


def test_steps_left_out_are_told(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=6, groups=6)
    page.open(write_report(folder, embed_bytes=12_000).as_uri())
    assert "of 6 steps" in page.text("#embedded-note")
    page.open(write_report(folder).as_uri())
    assert page.evaluate("byId('embedded-note').hidden")


def test_ten_thousand_completions(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=20, groups=64, group_size=8, characters=60)
    page.open(write_report(folder).as_uri() + "#scope=all")
    assert page.text("#rollouts-note") == "1,280 groups, 10,240 completions"
    assert page.evaluate("document.querySelectorAll('.row').length") < 60
    assert page.evaluate("document.querySelectorAll('*').length") < 20_000
    timed = "(async () => { const began = performance.now(); %s; return performance.now() - began; })()"
    assert page.evaluate(timed % "view.query = '7'; await search()") < 1000
    assert page.evaluate(timed % "view.query = ''; await search(); await choose(1279)") < 1000
    assert page.evaluate(timed % "byId('list').scrollTop = 30000; drawRows()") < 200
    assert "prompt" in page.text("#group .info")


def test_live_page_follows_the_run(page: browser.Page, tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=2, complete=False)
    with ReportServer(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        page.open(server.url)
        assert "2 of 2" in page.text("#status")
        example_run.add_step(folder, 3, text="a fresh answer")
        page.wait("document.querySelector('.info .chip')?.textContent === 'step 3'")
        page.wait("document.querySelector('#group')?.textContent.includes('a fresh answer')")
        server.shutdown()
        thread.join()
    page.wait("!byId('trouble').hidden")
