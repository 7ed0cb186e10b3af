"""lm-evaluation-harness with our engines gives what its own Hugging Face backend gives, on the same model, greedy."""

import asyncio
import dataclasses
import json

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'srm-ray[eval]'")

from srm_ray.evaluation.lm_eval import harness
from srm_ray.evaluation.suites import SUITES
from srm_ray.inference.completers import Sampling, Subject
from tests.rewards.shared_data import existing

GREEDY = harness.Options(Sampling(max_new_tokens=24), 3407, 2, "cot_zeroshot", "</think>", "", True, 64)
GENERATED = ("bbh", "ifeval")
SCORED = ("mmlu_stem", "arc_challenge")


@pytest.fixture(scope="module")
def theirs(tiny_model):
    """The harness's own backend, in FP32."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(tiny_model), dtype="float32", batch_size=1, device="cpu", think_end_token="</think>")


@pytest.fixture
def ours(asked, tmp_path, request):
    """Runs the suite as the command does; (result, the harness's own samples)."""

    def run(name: str, options: harness.Options, path, folder=tmp_path):
        kept = {}
        run_tasks = harness.run_tasks
        subject = Subject(asked.completer, asked.completer, asked.info.tokenizer)
        request.getfixturevalue("monkeypatch").setattr(
            harness, "run_tasks", lambda *arguments: kept.setdefault("samples", run_tasks(*arguments))
        )
        result = asked.run(harness.run(SUITES[name], str(path), subject, folder / "samples", "1/1", options))
        return result, kept["samples"]

    return run


@pytest.mark.integration
@pytest.mark.parametrize("name", GENERATED + SCORED)
@pytest.mark.parametrize("chat_template", [True, False])
def test_numbers_equal_those_of_the_hugging_face_backend(theirs, ours, local_suites, name, chat_template) -> None:
    limit = 1 if name == "bbh" else GREEDY.limit  # of each of its 27 tasks
    compare(theirs, ours, name, dataclasses.replace(GREEDY, chat_template=chat_template, limit=limit), local_suites)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "limit"), [("bbh", 1), ("ifeval", 4), ("mmlu_stem", 1), ("arc_challenge", 12)])
def test_they_are_equal_on_real_rows(theirs, ours, name: str, limit: int) -> None:
    path = existing(name).parent
    compare(theirs, ours, name, dataclasses.replace(GREEDY, limit=limit), path)


def compare(theirs, ours, name: str, options: harness.Options, path) -> None:
    """Ask both backends the same, and compare every problem's prompt, answer and metrics, and the suite's score."""
    result, samples = ours(name, options, path)
    reference = harness.run_tasks(theirs, harness.load(SUITES[name], str(path), options), options)
    assert samples.keys() == reference.keys()
    metric, _, wanted = SUITES[name].metric.partition(",")
    expected = []
    for task in sorted(reference):
        for one, other in zip(samples[task], reference[task], strict=True):
            assert (one["doc_id"], one["filter"], one["arguments"]) == (
                other["doc_id"],
                other["filter"],
                other["arguments"],
            )
            for measured in one["metrics"]:
                assert one[measured] == other[measured], (task, measured)
            if name in GENERATED:
                assert one["resps"] == other["resps"], task
            else:
                for (mine, my_greedy), (hers, her_greedy) in zip(
                    (each[0] for each in one["resps"]), (each[0] for each in other["resps"]), strict=True
                ):
                    assert mine == pytest.approx(hers, abs=1e-3)
                    assert my_greedy == her_greedy
        expected += [float(one[metric]) for one in harness.by_doc(reference[task], wanted)]
    assert result.values == expected
    assert result.score.value == sum(expected) / len(expected)


@pytest.fixture
def lm(asked, tmp_path):
    """Our engines as the harness sees them."""
    from srm_ray.evaluation.lm_eval.harness_lm import Answered, EngineLM

    return EngineLM(
        Subject(asked.completer, asked.completer, asked.info.tokenizer),
        asked.events,
        Answered(tmp_path / "requests.jsonl"),
        lambda score, tokens: None,
        seed=0,
        think_end="</think>",
        in_flight=4,
    )


@pytest.mark.integration
def test_text_ends_where_generation_would_have_stopped(asked, lm) -> None:
    tokenizer = asked.info.tokenizer
    ids = tokenizer.encode("two Q: and</think> more", add_special_tokens=False)
    # A model that writes a stop string in its thinking never gets to the end of the thinking.
    assert lm._text(ids, ["Q:"]).rstrip() == "two Q:"
    assert lm._text(ids, ["never"]) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.integration
def test_rolling_log_likelihood_is_the_sum_over_all_tokens(asked, theirs, lm) -> None:
    from lm_eval.api.instance import Instance

    texts = ["What is 81+55+87?", "a b c"]
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]

    async def in_thread():
        return await asyncio.to_thread(lm.loglikelihood_rolling, requests)

    assert asked.run(in_thread()) == pytest.approx(theirs.loglikelihood_rolling(requests), abs=1e-3)


@pytest.mark.integration
def test_a_second_run_asks_nothing_and_says_the_same(asked, ours, local_suites, tmp_path, monkeypatch) -> None:
    first, _ = ours("arc_challenge", GREEDY, local_suites, tmp_path)
    requests = tmp_path / "requests" / "arc_challenge.jsonl"
    lines = requests.read_text().splitlines()
    requests.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:20])  # as a kill leaves it
    count = len(lines)

    asks = []
    score = type(asked.completer).score

    async def counted(self, ids, start):
        asks.append(start)
        return await score(self, ids, start)

    monkeypatch.setattr(type(asked.completer), "score", counted)
    second, _ = ours("arc_challenge", GREEDY, local_suites, tmp_path)
    assert second == first
    assert len(asks) == 2
    assert len(requests.read_text().splitlines()) == count


@pytest.mark.integration
def test_samples_are_in_the_form_that_the_viewer_shows(ours, local_suites, tmp_path) -> None:
    result, _ = ours("ifeval", GREEDY, local_suites)
    lines = [json.loads(line) for line in (tmp_path / "samples" / "ifeval.jsonl").read_text().splitlines()]
    assert [line["prompt_index"] for line in lines] == list(range(len(result.values)))
    assert [line["reward"] for line in lines] == result.values
    assert all(line["prompt"].endswith("<think>\n") for line in lines)


def test_the_choice_marked_is_the_one_that_the_metric_takes() -> None:
    example = {"resps": [[(-10.0, False)], [(-12.0, False)]], "arguments": [("Q", " yes"), ("Q", " certainly not")]}
    assert [line[0] for line in harness.choices_text(example).splitlines()] == [">", " "]
    assert [line[0] for line in harness.choices_text(example, by_length=True).splitlines()] == [" ", ">"]


@pytest.mark.integration
def test_marks_and_grades_agree(ours, local_suites, tmp_path) -> None:
    result, _ = ours("arc_challenge", GREEDY, local_suites)
    lines = [json.loads(line) for line in (tmp_path / "samples" / "arc_challenge.jsonl").read_text().splitlines()]
    marked = [[text.startswith(">") for text in line["completion"].splitlines()].index(True) for line in lines]
    assert [float(str(mark) == line["gold"]) for mark, line in zip(marked, lines, strict=True)] == result.values


def test_local_files_decide_on_the_subjects_of_mmlu_stem(tmp_path) -> None:
    from srm_ray.errors import UserError

    rows = [{"question": "1+1?", "type": "astronomy", "choices": ["1", "2", "3", "4"], "answer": 1}]
    file = tmp_path / "mmlu_stem" / "test.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps(rows[0]))
    assert list(harness.load(SUITES["mmlu_stem"], str(tmp_path), GREEDY)) == ["mmlu_astronomy"]
    file.write_text(json.dumps(rows[0] | {"type": "poetry"}))
    with pytest.raises(UserError, match="'poetry' is no subject of the harness's"):
        harness.load(SUITES["mmlu_stem"], str(tmp_path), GREEDY)


@pytest.mark.integration
def test_settings_tell_the_sentence_splitter(ours, local_suites) -> None:
    result, _ = ours("ifeval", GREEDY, local_suites)
    assert result.settings["sentence_splitter"] in ("punkt_tab", "punkt, untrained")
    assert result.settings["max_new_tokens"] == 24
