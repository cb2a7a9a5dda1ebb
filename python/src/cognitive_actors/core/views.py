"""What agents of a roster are like right now, in words and numbers. Nothing changes by looking."""

from __future__ import annotations

from typing import Any

import torch

from . import batched
from .modulator_parameters import MODULATORS
from .roster import Roster


@torch.inference_mode()
def agent_view(roster: Roster, name: str) -> dict[str, Any]:
    """One agent: ``step``, cycles it has lived; ``time``, its clock in seconds of the stimuli; ``modulators``, levels
    by name; ``beliefs``, probabilities by factor and state; ``action``, the last by controllable factor, None before
    the first; ``workspace``, the modalities held there with their salience, strongest first.

    Raises KeyError for an agent that is not there.
    """
    model = roster.cycle.model
    row = torch.tensor([roster.rows[name]], device=model.device)
    agent = batched.take(roster.population, row)
    step, action = int(agent.step[0]), agent.action[0].tolist()
    held, strength = agent.workspace.active[0].tolist(), agent.workspace.strength[0].tolist()
    contents = [
        {"modality": m.name, "salience": s} for m, h, s in zip(model.modalities, held, strength, strict=True) if h
    ]
    return {
        "agent": name,
        "step": step,
        "time": float(agent.time[0]) / roster.cycle.settings.time_scale,
        "modulators": dict(zip(MODULATORS, roster.cycle.modulators.levels(agent.modulators)[0].tolist(), strict=True)),
        "beliefs": {
            f.name: dict(zip(f.states, q[0].tolist(), strict=True))
            for f, q in zip(model.factors, agent.beliefs, strict=True)
        },
        "action": {f.name: f.actions[u] for f, u in zip(model.factors, action, strict=True) if f.controllable}
        if step
        else None,
        "workspace": sorted(contents, key=lambda content: -float(content["salience"])),
    }


@torch.inference_mode()
def summary(roster: Roster) -> dict[str, Any]:
    """All agents: ``agents``, how many; ``steps``, cycles they have lived together; ``modulators``, mean and spread
    (standard deviation over the agents) of each level; ``workspace``, for each modality the share of the agents that
    hold it and the mean salience that it has there, None where nobody holds it. Where there is no agent, ``modulators``
    and ``workspace`` are None."""
    count = len(roster)
    modulators = workspace = None
    if count:
        levels = roster.cycle.modulators.levels(roster.population.modulators)
        means, spreads = levels.mean(dim=0).tolist(), levels.std(dim=0, correction=0).tolist()
        rows = zip(MODULATORS, means, spreads, strict=True)
        modulators = {name: {"mean": mean, "spread": spread} for name, mean, spread in rows}
        workspace = _held(roster)
    steps = int(roster.population.step.sum())
    return {"agents": count, "steps": steps, "modulators": modulators, "workspace": workspace}


def _held(roster: Roster) -> list[dict[str, Any]]:
    """Each modality with ``share``, 0 to 1, and ``salience``."""
    state = roster.population.workspace
    # What is not held has no strength.
    held, strength = state.active.sum(dim=0).tolist(), state.strength.sum(dim=0).tolist()
    agents = state.active.shape[0]
    return [
        {"modality": m.name, "share": n / agents, "salience": total / n if n else None}
        for m, n, total in zip(roster.cycle.model.modalities, held, strength, strict=True)
    ]
