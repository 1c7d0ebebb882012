"""The first lines of a zygote: `python -I bootstrap.py '{"path": […], "socket": 7, "exports": true}'`.

Run as a script, so that nothing of the harness is imported before the import path is what the parent says.
"""

import json
import sys

if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    sys.argv = ["host"]
    sys.path[:] = settings["path"]
    sys.dont_write_bytecode = True

    from harness.host.zygote import run

    run(settings["socket"], exports=settings["exports"])
