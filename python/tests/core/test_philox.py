"""The counter-based generator: known answers, uniformity, and independence of the batch."""

from __future__ import annotations

import pytest
import torch

from cognitive_actors.core.philox import Philox, Purpose, philox4x32

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)
#: Counter and key, then the answer: the known-answer file of the Random123 library.
KNOWN = [
    ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize(("words", "expected"), KNOWN)
def test_known_answers(words: tuple[int, ...], expected: tuple[int, ...]) -> None:
    c0, c1, c2, c3 = (torch.tensor([w, w]) for w in words[:4])
    answer = philox4x32((c0, c1, c2, c3), (words[4], words[5]))
    assert [x.tolist() for x in answer] == [[e, e] for e in expected]


def test_a_draw_does_not_depend_on_the_batch() -> None:
    random, agents = Philox(7), torch.tensor([5, 2**62 + 3, 0, 2**40])
    steps = torch.tensor([0, 3, 9, 2**31])
    together = random.uniform(agents, steps, Purpose.ACTION, 2)
    alone = [random.uniform(a[None], int(s), Purpose.ACTION, 2) for a, s in zip(agents, steps, strict=True)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together.flip(0), random.uniform(agents.flip(0), steps.flip(0), Purpose.ACTION, 2))
    assert torch.equal(
        random.uniform(agents, 3, Purpose.ACTION), random.uniform(agents, torch.tensor(3), Purpose.ACTION)
    )


def test_agent_step_purpose_index_and_seed_each_give_other_draws() -> None:
    one = torch.tensor([1])
    draws = [
        Philox(0).uniform(one, 0, Purpose.ACTION),
        Philox(0).uniform(one + 1, 0, Purpose.ACTION),
        Philox(0).uniform(one + 2**32, 0, Purpose.ACTION),
        Philox(0).uniform(one, 1, Purpose.ACTION),
        *(Philox(0).uniform(one, 0, purpose) for purpose in Purpose if purpose != Purpose.ACTION),
        Philox(0).uniform(one, 0, Purpose.ACTION, 1),
        Philox(1).uniform(one, 0, Purpose.ACTION),
        Philox(2**63).uniform(one, 0, Purpose.ACTION),
    ]
    assert len({float(x) for x in draws}) == len(draws)


@pytest.mark.parametrize("index", [-1, 1 << 24])
def test_an_index_that_would_repeat_another_purpose_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"index is {index}; write a number from 0 to 16777215"):
        Philox().uniform(torch.tensor([0]), 0, Purpose.ACTION, index)


def chi_square(cells: torch.Tensor, bins: int) -> float:
    counts = torch.bincount(cells, minlength=bins).double()
    expected = len(cells) / bins
    return float(((counts - expected) ** 2).sum() / expected)


#: The 99.9 % point of chi-square with 255 degrees of freedom.
LIMIT = 330.5


def test_draws_are_uniform_over_agents_and_over_steps() -> None:
    many = torch.arange(1 << 16)
    for draws in (
        Philox(11).uniform(many, 0, Purpose.ACTION),
        Philox(11).uniform(torch.zeros_like(many), many, Purpose.ENVIRONMENT),
    ):
        assert draws.dtype == torch.float64 and float(draws.min()) >= 0 and float(draws.max()) < 1
        assert chi_square((draws * 256).long(), 256) < LIMIT
        # The low bits are random too.
        assert chi_square((draws * 2**53).long() % 256, 256) < LIMIT


@pytest.mark.parametrize("other", [(0, Purpose.OUTCOME, 0), (1, Purpose.ACTION, 0), (0, Purpose.ACTION, 1)])
def test_draws_of_one_agent_are_independent(other: tuple[int, Purpose, int]) -> None:
    agents = torch.arange(1 << 16)
    first = (Philox(3).uniform(agents, 0, Purpose.ACTION) * 16).long()
    second = (Philox(3).uniform(agents, *other) * 16).long()
    assert chi_square(first * 16 + second, 256) < LIMIT
