"""A trial's training steps in a process of its own, as a worker of the harness has them: one thread, memory kept."""

import sys

from asked import serve
from ours import trainer_and_data

from harness.processor import set_up_processor


def main() -> None:
    name, digits, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    set_up_processor(threads)
    trainer, _ = trainer_and_data(name, digits)
    serve({"step": trainer.step})


if __name__ == "__main__":
    main()
