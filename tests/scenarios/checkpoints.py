"""With a directory for checkpoints, an actor of a new node goes on where the one before ended."""

alone.wait_for_unit("ray-head.service", timeout=180)

AGAIN = """
import json, ray
from cognitive_actors import NeurotransmitterActor
ray.init(logging_level="ERROR", namespace="test")
actor = NeurotransmitterActor.options(name="mood", lifetime="detached", get_if_exists=True).remote(durability="mood")
{change}
print(json.dumps(ray.get(actor.get_state.remote(), timeout=60)))
"""


def levels(change=""):
    """The actor's levels, of the one that is there or of a new one."""
    return json.loads(python(alone, AGAIN.format(change=change)).strip().splitlines()[-1])


with subtest("without one, an actor that asks for it says what is missing"):
    status, said = alone.execute(
        as_ray(f"RAY_ADDRESS=auto python3 -c {shlex.quote(AGAIN.format(change=''))} 2>&1"), timeout=120
    )
    assert status != 0 and "COGNITIVE_CHECKPOINTS" in said, said

with subtest("the directory is made for the node and its group, and named to all"):
    switch(alone, "checkpoints")
    alone.wait_for_unit("ray-head.service", timeout=180)
    assert alone.succeed("stat -c '%a %U %G' /srv/checkpoints").strip() == "770 ray ray"
    assert alone.succeed("bash -lc 'echo $COGNITIVE_CHECKPOINTS'").strip() == "/srv/checkpoints"

with subtest("an actor of the next node goes on"):
    fresh = levels()
    moved = levels('ray.get(actor.apply_delta.remote({"dopamine": 0.2}), timeout=60)')
    assert moved != fresh
    alone.succeed("systemctl restart ray-head", timeout=180)
    assert levels() == moved

with subtest("and the node writes nowhere else"):
    answer = python(
        alone,
        """
import ray
ray.init(logging_level="ERROR")
@ray.remote
def write(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
    return "written"
print(ray.get([write.remote(path) for path in ("/srv/checkpoints/here", "/srv/there")], timeout=60))
""",
    )
    assert answer.strip().endswith("['written', 'Read-only file system']"), answer
