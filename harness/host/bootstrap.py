"""The first lines of a zygote: `python -P -s bootstrap.py '{"path": […], "level": "strong", "socket": 7, …}'`.

Run as a script, so that nothing of the harness is imported before the import path is the one that the parent gave.
"""

import json
import os
import sys

NOBODY = 65534


def give_up_root() -> None:
    """Gives up root: whoever starts the harness, neither strangers' code nor the process that forks it runs as root."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    sys.argv = ["host"]
    if settings["level"] != "none":
        give_up_root()
    sys.path[:] = settings["path"]
    sys.dont_write_bytecode = True

    if "rehearse" in settings:
        from harness.host.zygote import rehearse

        rehearse(settings["readable"])
    else:
        from harness.host.zygote import run

        run(settings)
