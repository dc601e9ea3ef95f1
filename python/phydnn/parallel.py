# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""One function over many items: here, in worker processes, or on a Dask cluster.

Every item is computed on one thread, wherever it runs: sums of floats come out alike then, so
results do not depend on the number of workers.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

import rich
import threadpoolctl

from phydnn.errors import InputError, RunError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Work = Callable[[Item], Any]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CLUSTER_TIMEOUT_S = 10


@dataclass(frozen=True)
class Failure:
    """Why an item has no result: what ``work`` raised, or a RunError that says it."""

    error: InputError | RunError


def each(
    work: Work[Item], items: Sequence[Item], workers: int = 1, cluster: str = ""
) -> Iterator[tuple[int, Any]]:
    """Calls ``work`` on each item and yields (index, result or Failure) as they come.

    Args:
        work: a picklable callable; it is sent to each worker once.
        items: picklable.
        workers: processes on this machine; 1 computes in this one.
        cluster: the address of a Dask scheduler, such as tcp://host:8786, whose workers have
            phydnn installed and see the same files; empty for none.

    Raises:
        InputError: no such cluster, one without workers, or workers beside a cluster.
    """
    if cluster and workers != 1:
        raise InputError("give --workers for this machine or --cluster, not both")
    if cluster:
        return _on_cluster(work, items, cluster)
    if workers > 1 and len(items) > 1:
        return _in_processes(work, items, min(workers, len(items)))
    return _here(work, items)


def _attempt(work: Work[Item], item: Item) -> Any:
    """The result, or a Failure that pickles whatever was raised."""
    try:
        return work(item)
    except (InputError, RunError) as error:
        return Failure(error)
    except Exception as error:
        logger.debug("%s", traceback.format_exc())
        return Failure(RunError(f"{type(error).__name__}: {error}"))


def _here(work: Work[Item], items: Sequence[Item]) -> Iterator[tuple[int, Any]]:
    for index, item in enumerate(items):
        with one_thread():
            outcome = _attempt(work, item)
        yield index, outcome


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for NumPy, scikit-learn and torch, and no progress bars, until it is left."""
    console, torch = rich.get_console(), sys.modules.get("torch")
    quiet, threads = console.quiet, torch.get_num_threads() if torch else 0
    console.quiet = True
    try:
        with _environment(), threadpoolctl.threadpool_limits(1):
            if torch:
                torch.set_num_threads(1)
            yield
    finally:
        console.quiet = quiet
        if torch:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The variables by which libraries that are yet to be loaded start with one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_shared: Work[Any]
"""What a worker process computes; set once, when it starts."""


def _start_worker(work: Work[Any]) -> None:
    global _shared
    _shared = work
    rich.get_console().quiet = True
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Ends this process with its parent: were that killed, it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _attempt_shared(item: Any) -> Any:
    return _attempt(_shared, item)


def _in_processes(
    work: Work[Item], items: Sequence[Item], workers: int
) -> Iterator[tuple[int, Any]]:
    # Not forked: torch and ONNX Runtime hold threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (work,))
    try:
        with _environment():  # which the processes inherit; all start with the first item
            futures = {pool.submit(_attempt_shared, item): i for i, item in enumerate(items)}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                reason = "a worker process died (memory may have run out: give fewer --workers)"
                yield futures[future], Failure(RunError(reason))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _attempt_on_cluster(work: Work[Item], item: Item) -> Any:
    # Not one_thread(): another thread of this worker may be at work, and must not be given more.
    os.environ.update(dict.fromkeys(THREADS, "1"))
    threadpoolctl.threadpool_limits(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return _attempt(work, item)


def _on_cluster(work: Work[Item], items: Sequence[Item], address: str) -> Iterator[tuple[int, Any]]:
    try:
        import distributed
        from distributed.comm.addressing import get_address_host_port
    except ModuleNotFoundError as error:
        raise InputError(
            "--cluster needs the Python package distributed: run ./phydnn setup cluster, "
            "or pip install 'phydnn[cluster]'"
        ) from error
    try:
        # Looked for first, since a client that finds nobody complains at length when it goes.
        if not address.startswith("inproc://"):
            socket.create_connection(get_address_host_port(address), CLUSTER_TIMEOUT_S).close()
        client = distributed.Client(address, timeout=CLUSTER_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise InputError(f"the Dask cluster at {address} has no workers: start some")
        shared = client.scatter([work], broadcast=True, hash=False)[0]
        futures = {
            client.submit(_attempt_on_cluster, shared, item, pure=False): i
            for i, item in enumerate(items)
        }
        for future in distributed.as_completed(futures, loop=client.loop):
            try:
                yield futures[future], future.result()
            except Exception as error:  # Of Dask itself: a worker that died, or lacks phydnn.
                reason = f"the cluster lost it: {type(error).__name__}: {error}"
                yield futures[future], Failure(RunError(reason))
