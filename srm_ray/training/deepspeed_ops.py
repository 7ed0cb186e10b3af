"""Which of DeepSpeed's compiled operators a rank may use."""


def no_compiled_collectives() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives when a CPU rank joins its group.

    They serve its inference engine alone; training on gloo does not call them. The first start would
    wait for a compiler, and a rank killed in the middle of that leaves a lock file for which every
    later start waits without end. Call before `deepspeed.initialize`.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
