"""How a rank imports DeepSpeed, and which of its compiled operators it may use."""

from srm_ray.process.imports import quick_imports


def import_libraries() -> None:
    """Import what a rank trains with, once its environment is set: torch, transformers and DeepSpeed."""
    with quick_imports():
        import deepspeed  # noqa: F401
        import transformers.models.auto.modeling_auto  # noqa: F401


def no_compiled_collectives() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives when a CPU rank joins its group.

    They serve its inference engine alone; training on gloo does not call them. The first start would
    wait for a compiler, and a rank killed in the middle of that leaves a lock file for which every
    later start waits without end. Call before `deepspeed.initialize`.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
