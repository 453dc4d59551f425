#!/usr/bin/env python3
"""A stand-in for the command `hq`, over the Python package `hyperqueue`, which has HyperQueue's server,
worker and client, and no command. It knows what past-one-machine-hq.sh needs:

    hq serve CORES                 a server with one worker, until it is killed
    hq [--output-mode=quiet] submit --name=N --array=1-5,8 --time-limit=60s --cpus=1
        --stdout=FILE --stderr=FILE SCRIPT         prints the number of the job
    hq wait JOB                    waits for a job; ends with 1 if a task has failed

The server's folder is HQ_SERVER_DIR.
"""

import os
import sys
import time

from hyperqueue import Client, Job, LocalCluster
from hyperqueue.cluster import WorkerConfig


def numbers(array):
    """`1-3,7` as numbers."""
    for part in array.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def submit(arguments):
    flags = dict(word[2:].split("=", 1) for word in arguments if word.startswith("--"))
    (script,) = (word for word in arguments if not word.startswith("--"))
    # A task that fails does not end the others, as in an array of the command.
    job = Job(name=flags["name"], max_fails=None)
    for number in numbers(flags["array"]):
        name = lambda flag: flags[flag].replace("%{TASK_ID}", str(number))
        # This API numbers tasks from 0, whatever the array: the command sets the number of the array.
        job.program(
            ["/usr/bin/env", f"HQ_TASK_ID={number}", script],
            stdout=name("stdout"),
            stderr=name("stderr"),
        )
    print(Client(os.environ["HQ_SERVER_DIR"]).submit(job).id)


def main():
    arguments = [word for word in sys.argv[1:] if not word.startswith("--output-mode")]
    command, rest = arguments[0], arguments[1:]
    if command == "serve":
        cluster = LocalCluster(os.environ["HQ_SERVER_DIR"], WorkerConfig(cores=int(rest[0])))
        print("serving", cluster.cluster.server_dir, flush=True)
        while True:
            time.sleep(3600)
    elif command == "submit":
        submit(rest)
    elif command == "wait":
        client = Client(os.environ["HQ_SERVER_DIR"])
        failed = client.connection.wait_for_jobs([int(rest[0])], lambda _: None)
        sys.exit(1 if failed else 0)
    else:
        sys.exit(f"unknown command {command}")


main()
