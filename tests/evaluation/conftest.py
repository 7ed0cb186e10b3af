"""One real engine (vLLM in a Ray actor, FP32) for all tests of this folder, and small local suites."""

import asyncio
import json
from pathlib import Path

import pytest

from srm_ray.config.engine import EngineConfig
from srm_ray.model.loading import open_model


class Asked:
    """An event loop that lives as long as the module, with the engines of one model in it."""

    def __init__(self, model: Path) -> None:
        from actors.rollout.scoring import Engines, Prompting

        self.events = asyncio.new_event_loop()
        self.info = open_model(str(model))
        options = EngineConfig(dtype="float32", cpus=0.5, kv_cache_gb=0.25, max_num_seqs=64)
        self.engines = Engines(self.info, options, Prompting(512), workers=1, seed=0)
        self.completer = self.run(self.engines.__aenter__())

    def run(self, coroutine):
        return self.events.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.engines.__aexit__())
        self.events.close()


@pytest.fixture(scope="session")
def asked(ray_session, tiny_model):
    made = Asked(tiny_model)
    yield made
    made.close()


@pytest.fixture(scope="session")
def local_suites(tmp_path_factory) -> Path:
    """A few rows of every suite that the harness runs, in the form of the local files."""
    folder = tmp_path_factory.mktemp("suites")
    _bbh(folder / "bbh")
    _lines(folder / "mmlu_stem" / "test.jsonl", [_mmlu(subject, n) for subject in MMLU for n in range(2)])
    _lines(folder / "arc_challenge" / "test.jsonl", [_arc(n) for n in range(6)])
    _lines(folder / "ifeval" / "input_data.jsonl", IFEVAL)
    return folder


def _lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _bbh(folder: Path) -> None:
    folder.mkdir()
    for name in BBH:
        ends = "List: pear fig" if name == "word_sorting" else "Options:\n(A) yes\n(B) no"
        target = "fig pear" if name == "word_sorting" else "(A)"
        examples = [{"input": f"Is 1{n} below 2{n}? ({name})\n{ends}", "target": target} for n in (1, 2)]
        (folder / f"{name}.json").write_text(json.dumps({"examples": examples}))


def _mmlu(subject: str, n: int) -> dict:
    return {"question": f"What is {n}+{n}?", "type": subject, "choices": ["1", "2", "0", "3"], "answer": 2 - n}


def _arc(n: int) -> dict:
    choices = {"text": ["a stone", "rain", f"{n} suns", "the wind blows"], "label": ["A", "B", "C", "D"]}
    return {"id": f"q{n}", "question": f"Which of these {n} is wet?", "choices": choices, "answerKey": "B"}


MMLU = """abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science
college_mathematics college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics
high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics
high_school_statistics machine_learning""".split()
BBH = """boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages formal_fallacies
geometric_shapes hyperbaton logical_deduction_five_objects logical_deduction_seven_objects
logical_deduction_three_objects movie_recommendation multistep_arithmetic_two navigate object_counting
penguins_in_a_table reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks
sports_understanding temporal_sequences tracking_shuffled_objects_five_objects tracking_shuffled_objects_seven_objects
tracking_shuffled_objects_three_objects web_of_lies word_sorting""".split()
IFEVAL = [
    {"key": 1, "prompt": "Say a. No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    {
        "key": 2,
        "prompt": "Two sentences at least, please.",
        "instruction_id_list": ["length_constraints:number_sentences", "punctuation:no_comma"],
        "kwargs": [{"relation": "at least", "num_sentences": 2}, {}],
    },
    {
        "key": 3,
        "prompt": "Use fewer than 100 words.",
        "instruction_id_list": ["length_constraints:number_words"],
        "kwargs": [{"relation": "less than", "num_words": 100}],
    },
]
