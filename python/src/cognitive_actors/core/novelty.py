"""How much a Dirichlet count stands to teach: the weights of the parameter information gain.

Source: Da Costa et al. 2020 (J Math Psychol 99:102447), equation D.15, with the sign turned so that a larger weight
means more to learn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .numerics import floor


def novelty_weights(counts: Tensor) -> Tensor:
    """Information gain about a column of counts, in nats, of one more observation of each of its entries.

    That is KL[Dir(alpha + one for the entry) || Dir(alpha)]. counts: (batch, outcomes, ...) -> the same shape, >= 0.
    """
    # In float64: at a hundred thousand counts the weights are smaller than float32's rounding of the logarithms.
    alpha = counts.double().clamp_min(floor(counts))
    total = alpha.sum(dim=1, keepdim=True)
    # psi(x) + 1/x = psi(x + 1): the two terms that diverge as counts vanish cancel before they are rounded.
    gain = total.log() - alpha.log() + torch.digamma(alpha + 1) - torch.digamma(total + 1)
    return gain.clamp_min(0).to(counts.dtype)
