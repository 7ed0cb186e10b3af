"""How many targets' logits exist at a time."""

ENTRIES = 1 << 28  # 1 GiB in FP32, and as much again for their gradient
TARGETS = 8192


def targets_at_once(vocabulary: int) -> int:
    """Targets whose logits [N, V] are made together: 8,192 of a small vocabulary, 1,766 of one of 151,936."""
    return max(1, min(TARGETS, ENTRIES // vocabulary))
