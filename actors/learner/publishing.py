"""A rank's weights on their way to the rollout workers: whole, as an adapter with the base that it is added to, or as
handles of the GPU's memory.

    engine's parameters --Publishing.publish(version)--> WeightUpdate (rank 0; the others take part, and return None)
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from actors.learner.spec import LearnerSpec
from srm_ray.training.engine import Engine
from srm_ray.weights.flat import Buffer, Publisher, WeightUpdate

if TYPE_CHECKING:
    pass


class Publishing:
    """What one rank has published. node: Ray's id of where it is."""

    def __init__(self, spec: LearnerSpec, node: str):
        from srm_ray.model.lora import Adapter

        self.spec = spec
        self.adapter: Adapter | None = Adapter.of(spec.learner.lora)
        self.alone = self.adapter is not None and spec.learner.lora.push != "merged"
        # Factors in FP32: they are small, and are rounded once, with the weight that they are added to.
        self.publisher = Publisher(node, dtype="float32" if self.alone else spec.publish_dtype)
        self.base_publisher = Publisher(node, dtype=spec.publish_dtype, files=1)
        self.base: WeightUpdate | None = None

    def publish(self, version: int, engine: Engine, *, elsewhere: bool) -> WeightUpdate | None:
        """The engine's weights of now as `version`; None of all ranks but the first. Collective.

        elsewhere: put them into Ray's object store too, for workers on other nodes.
        """
        from srm_ray.model import lora

        with engine.gathered() as parameters:
            if self.spec.transport == "ipc":
                from srm_ray.weights import ipc

                return ipc.share(version, [(name, p.detach()) for name, p in parameters])
            if engine.rank:
                return None
            if self.adapter is None:
                update, _ = self.publisher.publish(version, [(name, p.detach()) for name, p in parameters])
            elif not self.alone:
                update, _ = self.publisher.publish(version, lora.Merged(engine.model, self.spec.publish_dtype))
            else:
                if self.base is None:
                    self.base, _ = self.base_publisher.publish(0, lora.Merged(engine.model, base=True))
                made, _ = self.publisher.publish(version, lora.factors(engine.model))
                update = replace(made, base=self.base, scale=self.adapter.scale)
        return self.share(update) if elsewhere else update

    def share(self, update: WeightUpdate) -> WeightUpdate | None:
        """A published update for workers on other nodes too; None where it has been overwritten since."""
        if (file := self.publisher.holding(update.version)) is None:
            return None
        if update.base is not None and self.base is not None:
            whole = self.base_publisher.holding(0)
            if self.base.data is None and whole is not None:
                self.base = for_other_nodes(self.base, whole.buffer)
            update = replace(update, base=self.base)
        return for_other_nodes(update, file.buffer)

    def close(self) -> None:
        self.publisher.close()
        self.base_publisher.close()


def for_other_nodes(update: WeightUpdate, buffer: Buffer) -> WeightUpdate:
    """The update with its bytes in Ray's object store as well."""
    import ray

    return replace(update, data=ray.put(np.frombuffer(buffer, np.uint8).copy()))
