"""`ray start …` of a head whose GCS keeps what it knows in Redis: `ray_with_redis.py start …`.

Ray would put the password of Redis on the command lines of gcs_server and of all workers, where everyone on the machine
can read it. Here it comes from the file that RAYNIXOS_REDIS_PASSWORD_FILE names, and goes to the two that ask Redis:
this process, and gcs_server, which reads it as a flag from its standard input. Workers do not need it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FILE = "RAYNIXOS_REDIS_PASSWORD_FILE"
_FROM_STDIN = "--flagfile=/proc/self/fd/0"


def read_password(path: Path) -> str:
    """The password in a file, without the newline at its end. Raises ValueError unless it is one line."""
    password = path.read_text().removesuffix("\n")
    if not password or "\n" in password:
        raise ValueError(f"{path}: the password of Redis must be one line, and this has {len(password.splitlines())}")
    return password


def hand_over(password: str) -> None:
    """Make this process's Ray give the password to what asks Redis. Raises AttributeError where Ray is another one."""
    from ray._private import node, services

    ask, start = node.get_session_key_from_storage, services.start_ray_process

    def asked(host: str, port: int, user: str, _password: str, *rest: object) -> object:
        return ask(host, port, user, password, *rest)

    node.get_session_key_from_storage = asked
    services.start_ray_process = _through_stdin(start, services.ray_constants.PROCESS_TYPE_GCS_SERVER, password)


def _through_stdin(start: Callable[..., Any], receiver: str, password: str) -> Callable[..., Any]:
    def started(command: Sequence[str], process_type: str, *arguments: Any, **options: Any) -> Any:
        if process_type != receiver:
            return start(command, process_type, *arguments, **options)
        made = start([*command, _FROM_STDIN], process_type, *arguments, pipe_stdin=True, **options)
        with made.process.stdin as stdin:
            stdin.write(f"--redis_password={password}\n".encode())
        return made

    return started


def main() -> int:
    """Hand the password over, where there is one, and be `ray`."""
    # Tasks inherit what is left of the environment, and have no use for it.
    if path := os.environ.pop(FILE, None):
        hand_over(read_password(Path(path)))
    from ray.scripts.scripts import main as ray

    sys.argv[0] = "ray"
    return int(ray() or 0)


if __name__ == "__main__":
    sys.exit(main())
