# SPDX-License-Identifier: Apache-2.0
"""What the baselines in Python share: how their calls are timed, the same way as kernels of `millet run`."""
import dataclasses
import statistics

import torch


class Declined(Exception):
    """A problem that a baseline does not compute; the text says why."""


class Incorrect(Exception):
    """A product that is off by more than its types explain."""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """As the protocol `cold+graph` has them, or `hot+eager`: then one copy of the weights and calls issued one by one."""

    cold: bool
    last_level_cache_bytes: int
    launches_per_sample: int  # at least

    def copies(self, weight_bytes):
        """Copies that together pass twice the last-level cache, and one more, so that each is evicted before its next turn."""
        if not self.cold or weight_bytes > 2 * self.last_level_cache_bytes:
            return 1
        return -(-2 * self.last_level_cache_bytes // weight_bytes) + 1


class TimedCalls:
    """Functions without arguments, one for each copy of the weights, called in rotation."""

    def __init__(self, calls, conditions):
        self.calls = calls * -(-conditions.launches_per_sample // len(calls))
        self.start, self.stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.graph = None
        torch.cuda.synchronize()
        if conditions.cold:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._issue()

    def _issue(self):
        for call in self.calls:
            call()

    def seconds(self):
        """Of one call, by the device's clock, over a whole rotation."""
        self.start.record()
        if self.graph is None:
            self._issue()
        else:
            self.graph.replay()
        self.stop.record()
        self.stop.synchronize()
        return self.start.elapsed_time(self.stop) * 1e-3 / len(self.calls)

    def median(self, samples):
        self.seconds()
        return statistics.median(self.seconds() for _ in range(samples))


LARGEST_ERROR = 1e-2  # of the norm: five times what rounding the result to bf16 may cost


def check(got, expected):
    """The relative error of `got` against the f64 product. Raises Incorrect."""
    error = ((got.double() - expected).norm() / expected.norm()).item()
    if not error < LARGEST_ERROR:
        raise Incorrect(f"relative error {error:g} against the f64 product of its own operands")
    return error
