"""What a rendered unit of tests/nodes says, and the same node as bare Ray, without the supervisor."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

_PROPERTIES = ("KillMode=mixed", "TasksMax=infinity", "LimitNOFILE=524288", "WorkingDirectory=/var/lib/ray")


@dataclass(frozen=True)
class Unit:
    """What a rendered unit says: its name, its environment, the supervisor's arguments and Ray's."""

    name: str
    environment: dict[str, str]
    supervisor: list[str]
    command: list[str]

    @classmethod
    def read(cls, path: Path, token: str) -> Unit:
        """Parse a unit of tests/nodes; the credential's path becomes that of the token's file."""
        lines = path.read_text().splitlines()
        environment = dict(
            shlex.split(line.partition("=")[2])[0].split("=", 1) for line in lines if line.startswith("Environment=")
        )
        environment["RAY_AUTH_TOKEN_PATH"] = token
        (arguments,) = (shlex.split(line.partition("=")[2]) for line in lines if line.startswith("ExecStart="))
        middle = arguments.index("--")
        return cls(path.stem, environment, arguments[:middle], arguments[middle + 1 :])

    def addresses(self, option: str) -> str:
        """The values of an option of the supervisor, such as door, separated by commas."""
        return ",".join(a.partition("=")[2] for a in self.supervisor if a.startswith(f"--{option}="))

    def bare(self) -> str:
        """The command that runs Ray alone, as a unit of its own so that its processes can be counted and ended."""
        return shlex.join(
            [
                *("systemd-run", "--quiet", "--unit=bare", "--uid=ray", "--gid=ray", "--collect"),
                *(f"--property={each}" for each in _PROPERTIES),
                *(f"--setenv={name}={value}" for name, value in self.environment.items()),
                *self.command,
            ]
        )

    def bare_file(self) -> str:
        """The unit that somebody would write for Ray alone: systemd has it back, after a boot too."""
        quoted = " ".join(f'"{argument}"' for argument in self.command)
        lines = [
            *("[Unit]", "After=network-online.target", "Wants=network-online.target", "StartLimitIntervalSec=0"),
            *("[Service]", f"ExecStart={quoted}", "User=ray", "Group=ray", "Restart=always", "RestartSec=2"),
            *("TimeoutStopSec=30", *_PROPERTIES),
            *(f'Environment="{name}={value}"' for name, value in self.environment.items()),
            *("[Install]", "WantedBy=multi-user.target"),
        ]
        return "\n".join(lines) + "\n"
