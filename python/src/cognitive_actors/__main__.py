"""``python -m cognitive_actors`` is ``cognitive``."""

from .cli import main

main()
