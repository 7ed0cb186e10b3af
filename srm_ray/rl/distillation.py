"""On-policy distillation: the student's samples, scored by a teacher token by token.

    reverse KL of a token  log pi_student(y_t) - log pi_teacher(y_t), unbiased on the student's samples
    as advantage           less `weight` times it, added to the completion's own: the policy gradient of the reverse KL
                           with credit by token (MiniLLM, arXiv 2306.08543, without its look-ahead; Thinking Machines,
                           "On-Policy Distillation", 2025)
    over the top K         the reverse KL itself in each place of the student's samples, over the teacher's K likeliest
                           tokens, as a loss (GKD, arXiv 2306.13649, eq. 4 with lambda 1, over the whole vocabulary)

What is outside the teacher's top K is one outcome more, with the mass that either model leaves to it. So the divergence
never exceeds the whole vocabulary's (data processing inequality), equals it where K is all of it, and mass that the
student moves out of the top K costs what it should.
"""

import torch

REST = 1e-6  # least mass outside the top K: what rounding leaves of 1 less a sum in FP32, and a finite logarithm


def token_advantages(
    advantages_C: torch.Tensor, own_C: torch.Tensor, teacher_C: torch.Tensor, weight: float
) -> torch.Tensor:
    """`advantages - weight (own - teacher)`, [C]. own_C: log pi_student without gradient; teacher_C: log pi_teacher."""
    return advantages_C - weight * (own_C.detach() - teacher_C)


def top_k_reverse_kl(logprobs_CK: torch.Tensor, teacher_CK: torch.Tensor) -> torch.Tensor:
    """KL(student || teacher) in each place, [C], nats, over the teacher's top K and the rest as one outcome.

    logprobs_CK: log pi_student of the teacher's top K, with gradient. teacher_CK: log pi_teacher of them.
    """
    own_CK = logprobs_CK.exp()
    inside_C = (own_CK * (logprobs_CK - teacher_CK)).sum(-1)
    rest_C = (1.0 - own_CK.sum(-1)).clamp(min=REST)
    teacher_rest_C = (1.0 - teacher_CK.double().exp().sum(-1)).clamp(min=REST).to(rest_C.dtype)
    return inside_C + rest_C * (rest_C.log() - teacher_rest_C.log())
