"""`python -m srm_ray.bench`: what the system costs beside the bare libraries, as ratios of one run.

rollout   tokens/s of the rollout workers         / vllm.LLM.generate on all cores, same prompts and lengths
learner   completion tokens/s of a learner rank   / a bare PyTorch loop, same batch, no padding
push      seconds of a weight push, idle worker   / a memory copy of the same bytes
step      seconds of a step of the loop           / the sum of its parts
overlap   asynchronous rollouts: step time         / the larger of sampling and learning (scripted engine)
fleet     driver time and memory a completion with 256 rollout workers (scripted engines)
environment  tokens/s of episodes whose environment sleeps 200 ms a call / of such as answer at once
pretrain  tokens/s of a pretraining step      / a bare PyTorch loop, same model and rows
soak      memory of every process over 1,000 steps, and what is left at the end (only when asked for: 15 minutes)
rewards   graders beside Math-Verify, sandboxed candidates a second (needs the benchmark data)
"""

import argparse
import json
import platform
import sys

from srm_ray.console.command import interactive
from srm_ray.errors import UserError

PARTS = ("rollout", "learner", "push", "step", "overlap", "fleet", "environment", "pretrain", "rewards")
LONG = ("soak",)  # left out where no part is named
ALONE = {"fleet", "environment", "pretrain", "rewards", *LONG}  # those that need no workers


@interactive
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m srm_ray.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help=f"one of {', '.join((*PARTS, *LONG))}; default: all but soak")
    parser.add_argument(
        "--model", default="", help="Hugging Face folder; default: the tiny base model, made if need be"
    )
    parser.add_argument(
        "--dtype", default="", help="weights and compute of the engines; default: as the hardware has it"
    )
    parser.add_argument("--precision", default="", help="of the learner; default: as the hardware has it")
    parser.add_argument("--workers", type=int, default=0, help="rollout workers; default: configs/grpo/tiny.yaml's")
    parser.add_argument("--json", default="", help="also write the numbers to this file")
    options = parser.parse_args(argv)
    if options.only and options.only not in (*PARTS, *LONG):
        raise UserError(f"--only {options.only}: one of {', '.join((*PARTS, *LONG))}")
    wanted = [options.only] if options.only else list(PARTS)
    results: dict[str, object] = {"machine": machine(), "hardware": hardware()}
    print(f"{results['machine']}\n{results['hardware']}", flush=True)
    if set(wanted) - ALONE:
        from srm_ray.bench import loop

        chosen = {"dtype": options.dtype, "workers": options.workers}
        parts = [part for part in wanted if part not in ALONE]
        results |= loop.measure(parts, options.model, chosen, options.precision)
    if "fleet" in wanted:
        from srm_ray.bench import fleet

        results["fleet"] = fleet.main()
    if "environment" in wanted:
        from srm_ray.bench import environment

        results["environment"] = environment.main(options.model)
    if "pretrain" in wanted:
        from srm_ray.bench import pretrain

        results["pretrain"] = pretrain.measure()
    if "soak" in wanted:
        from srm_ray.bench import soak

        results["soak"] = soak.measure(options.model)
    if "rewards" in wanted:
        from srm_ray.bench import rewards

        results["rewards"] = rewards.measure()
        print(json.dumps(results["rewards"], indent=2))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)
    return 0


def hardware() -> str:
    """Whether what is measured computes BF16, and how that is known."""
    from srm_ray.model.precision import probe

    return str(probe(gpu=False))


def machine() -> str:
    """Processor, cores and Python, for the numbers' caption."""
    import os

    name = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
