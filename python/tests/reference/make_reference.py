"""Write pymdp-1.0.4.npz: what pymdp computes for a handful of small models, in float64.

Run it in an environment of its own, since pymdp brings JAX:

    python -m venv reference-env
    reference-env/bin/pip install -r python/tests/reference/requirements.txt
    reference-env/bin/python python/tests/reference/make_reference.py

The archive holds plain arrays only (no pickle) under ``case/source/quantity``; the same script on the same
versions writes the same bytes. ``source`` says where a number is from:

    model        the arrays of the generative model, agents' observations, priors and actions
    pymdp        computed by pymdp's ``Agent``
    enumerated   computed here by summing over every joint state: pymdp has no exact inference for several factors
    definition   computed here from the definition: pymdp has flags for learning D but no code that reads them
"""

from __future__ import annotations

import os

# pymdp reads the precision when it is imported.
os.environ["JAX_ENABLE_X64"] = "1"

import argparse
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pymdp import control
from pymdp.agent import Agent
from reference_models import Case, coupled_factors, reference_cases, two_identical_modalities

VERSION = "1.0.4"
SWEEPS = 2000
RATE_A, RATE_B = 1.0, 0.5

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Terms:
    """Which terms of the expected free energy pymdp is told to add up."""

    utility: bool = False
    states: bool = False
    likelihood: bool = False
    transitions: bool = False


QUANTITIES = {
    "utility": Terms(utility=True),
    "state_information_gain": Terms(states=True),
    "parameter_information_gain_A": Terms(likelihood=True),
    "parameter_information_gain_B": Terms(transitions=True),
    "negative_efe": Terms(utility=True, states=True),
    "negative_efe_with_parameters": Terms(utility=True, states=True, likelihood=True, transitions=True),
}


def agent(case: Case, terms: Terms = QUANTITIES["negative_efe"], *, sweeps: int = SWEEPS, **options: Any) -> Agent:
    """pymdp's agent for a case, one model for the whole batch."""

    def arrays(xs: tuple[np.ndarray, ...]) -> list[jax.Array]:
        return [jnp.asarray(x) for x in xs]

    settings: dict[str, Any] = {
        "pA": arrays(case.pA) if terms.likelihood else None,
        "pB": arrays(case.pB) if terms.transitions else None,
        "inference_algo": "exact" if len(case.B) == 1 else "fpi",
        "num_iter": sweeps,
        "sampling_mode": "marginal",
        "gamma": 1.0,
    } | options
    return Agent(
        A=arrays(case.A),
        B=arrays(case.B),
        C=arrays(case.C),
        D=arrays(case.D),
        E=jnp.asarray(case.E),
        A_dependencies=[list(d) for d in case.dependencies],
        policy_len=case.horizon,
        batch_size=case.agents,
        use_utility=terms.utility,
        use_states_info_gain=terms.states,
        use_param_info_gain=terms.likelihood or terms.transitions,
        **settings,
    )


def infer(case: Case, observations: list[Any], prior: list[Any], **options: Any) -> tuple[list[jax.Array], np.ndarray]:
    """Posterior beliefs with pymdp's axis of time (N, 1, S_f), and the free energy (N,)."""
    beliefs, info = agent(case, **options).infer_states(observations, prior, return_info=True)
    return beliefs, np.asarray(info["vfe"])


def converged(
    case: Case, observations: list[Any], prior: list[Any], **options: Any
) -> tuple[list[jax.Array], np.ndarray]:
    """As ``infer``, after checking that one sweep less gives the same beliefs."""
    beliefs, free_energy = infer(case, observations, prior, **options)
    earlier, _ = infer(case, observations, prior, sweeps=SWEEPS - 1, **options)
    change = max(float(jnp.abs(x - y).max()) for x, y in zip(beliefs, earlier, strict=True))
    if change > 1e-14:
        raise SystemExit(f"{case.name}: pymdp's beliefs still change by {change:.1e}; choose another model")
    return beliefs, free_energy


def joint_posterior(
    case: Case, observations: list[np.ndarray], prior: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """P(s | o) over every joint state (N, S_0, S_1, ...), and -ln P(o) (N,)."""
    posteriors, surprises = [], []
    for n in range(case.agents):
        joint: np.ndarray = np.ones(())
        for p in prior:
            joint = np.multiply.outer(joint, p[n])
        for A, factors, o in zip(case.A, case.dependencies, observations, strict=True):
            if o[n] >= 0:
                shape = [s if f in factors else 1 for f, s in enumerate(joint.shape)]
                joint = joint * A[o[n]].reshape(shape)
        posteriors.append(joint / joint.sum())
        surprises.append(-np.log(joint.sum()))
    return np.stack(posteriors), np.array(surprises)


def perception(case: Case) -> tuple[Arrays, list[jax.Array], list[jax.Array]]:
    """Two observations with an action between them, and the first once more as soft evidence."""
    found: Arrays = {}
    prior: list[Any] = [jnp.asarray(d) for d in case.priors]
    history = []
    for step, observations in enumerate(case.observations):
        beliefs, free_energy = converged(case, [jnp.asarray(o)[:, None] for o in observations], prior)
        joint, surprise = joint_posterior(case, list(observations), [np.asarray(p) for p in prior])
        found[f"pymdp/free_energy_{step}"] = free_energy
        found[f"enumerated/joint_{step}"] = joint
        found[f"enumerated/surprise_{step}"] = surprise
        found |= {f"pymdp/prior_{step}_{f}": np.asarray(p) for f, p in enumerate(prior)}
        found |= {f"pymdp/beliefs_{step}_{f}": np.asarray(q[:, 0]) for f, q in enumerate(beliefs)}
        history.append(beliefs)
        prior = agent(case).update_empirical_prior(jnp.asarray(case.actions), beliefs)
    soft, free_energy = converged(
        case, [jnp.asarray(o)[:, None] for o in case.soft], [jnp.asarray(d) for d in case.priors], categorical_obs=True
    )
    found["pymdp/soft_free_energy"] = free_energy
    found |= {f"pymdp/soft_beliefs_{f}": np.asarray(q[:, 0]) for f, q in enumerate(soft)}
    return found, history[0], history[1]


def planning(case: Case, beliefs: list[jax.Array]) -> Arrays:
    """The terms of the expected free energy, each by itself, and the posterior over policies and actions."""
    found: Arrays = {}
    for name, terms in QUANTITIES.items():
        found[f"pymdp/{name}"] = np.asarray(agent(case, terms).infer_policies(beliefs)[1])
    for gamma in (1, 16):
        planner = agent(case, gamma=float(gamma))
        posterior, _ = planner.infer_policies(beliefs)
        found[f"pymdp/policy_posterior_{gamma}"] = np.asarray(posterior)
        marginals = [control.get_marginals(q, planner.policies.policy_arr, planner.num_controls) for q in posterior]
        for f in range(len(case.B)):
            found[f"pymdp/action_marginal_{gamma}_{f}"] = np.stack([np.asarray(m[f]) for m in marginals])
        found[f"pymdp/action_{gamma}"] = np.asarray(planner.sample_action(posterior))
    found["pymdp/policies"] = np.asarray(planner.policies.policy_arr)
    return found


def learning(case: Case, first: list[jax.Array], second: list[jax.Array]) -> Arrays:
    """Dirichlet counts after both observations and the transition between them."""
    both = Terms(utility=True, likelihood=True, transitions=True)
    # pymdp smooths under "exact"; the counts of filtered beliefs are wanted, and one factor is exact under "fpi" too.
    learner = agent(case, both, inference_algo="fpi", learn_A=True, learn_B=True)
    beliefs = [jnp.concatenate(pair, axis=1) for pair in zip(first, second, strict=True)]
    observations = [jnp.stack(pair, axis=1) for pair in zip(*case.observations, strict=True)]
    learned = learner.infer_parameters(
        beliefs, observations, jnp.asarray(case.actions)[:, None], lr_pA=RATE_A, lr_pB=RATE_B
    )
    found = {"model/rate_A": np.array(RATE_A), "model/rate_B": np.array(RATE_B)}
    for label in ("pA", "pB", "A", "B"):
        found |= {f"pymdp/learned_{label}_{i}": np.asarray(x) for i, x in enumerate(getattr(learned, label))}
    for f, (counts, q) in enumerate(zip(case.pD, first, strict=True)):
        found[f"definition/learned_pD_{f}"] = counts + np.asarray(q[:, 0])
    return found


def oscillation() -> Arrays:
    """Parallel sweeps over two coupled factors, at pymdp's default of sixteen."""
    case = coupled_factors()
    prior = [jnp.asarray(p) for p in case.priors]
    beliefs, free_energy = infer(case, [jnp.asarray(o)[:, None] for o in case.observations[0]], prior, sweeps=16)
    _, surprise = joint_posterior(case, list(case.observations[0]), list(case.priors))
    found = {"pymdp/free_energy_0": free_energy, "enumerated/surprise_0": surprise}
    return found | {f"pymdp/beliefs_0_{f}": np.asarray(q[:, 0]) for f, q in enumerate(beliefs)}


def duplicated_modality() -> Arrays:
    """State information gain of one binary outcome that is seen twice."""
    case = two_identical_modalities()
    beliefs = [jnp.asarray(p)[:, None] for p in case.priors]
    gain = agent(case, QUANTITIES["state_information_gain"]).infer_policies(beliefs)[1]
    return {"pymdp/state_information_gain": np.asarray(gain)}


def reference() -> Arrays:
    """Every case with everything computed for it."""
    found: Arrays = {}

    def add(case: Case, quantities: Arrays) -> None:
        found.update({f"{case.name}/{key}": x for key, x in (case.arrays() | quantities).items()})

    for case in reference_cases():
        quantities, first, second = perception(case)
        add(case, quantities | planning(case, first) | learning(case, first, second))
    add(coupled_factors(), oscillation())
    add(two_identical_modalities(), duplicated_modality())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(f"pymdp-{VERSION}.npz"))
    output = parser.parse_args().output
    installed = version("inferactively-pymdp")
    if installed != VERSION:
        raise SystemExit(f"inferactively-pymdp {installed} is installed; install {VERSION}")
    found = reference()
    np.savez_compressed(output, allow_pickle=False, **dict(sorted(found.items())))
    print(f"{output}: {len(found)} arrays, {output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
