"""How a model does at generated sums that no training ever sees: one greedy completion each."""

from srm_ray.evaluation import suites
from srm_ray.evaluation.evaluator import Evaluator
from srm_ray.evaluation.grading import Grader
from srm_ray.inference.completers import ChatCompleter, Sampling
from srm_ray.intervals import Share

NEW_TOKENS = 96


async def accuracy(model: ChatCompleter, grader: Grader, count: int) -> Share:
    """Share of the first `count` problems of the suite `arithmetic` that the model answers right."""
    suite = suites.SUITES["arithmetic"]
    evaluator = Evaluator(grader, Sampling(max_new_tokens=NEW_TOKENS), seed=0, in_flight=count)
    return (await evaluator.score(suite, suites.load(suite, "", count), model)).score
