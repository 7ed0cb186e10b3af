"""One module an algorithm: what it needs, its paper and equation, its advantage, its loss, its choice of groups.

    rewards of a group --advantage--> [G] --across the step--> [N]     (NumPy, in the driver)
    group --choice--> trained on or drawn anew                         (in the driver)
    tokens of a micro-batch --loss--> a term for each token [C]        (PyTorch, in the learner's ranks)

An algorithm gives terms; what they are weighted with, which of them count and what their sum is divided by is done
once for all algorithms (`srm_ray.rl.loss`), so that micro-batches, packing and ranks cannot change the step.
`contract` has the types, `loading` finds an algorithm by name or import path.
"""
