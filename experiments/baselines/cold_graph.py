# SPDX-License-Identifier: Apache-2.0
"""What the baselines in Python share: the seed's dense cells, and the protocol of `millet run --protocol cold`.

One CUDA (or HIP) graph whose calls rotate over copies of the weights of more than 400 MB in total; the median of its replays,
divided by its calls.
"""
import statistics

import torch

SHAPES = {"qkv": (6144, 2304), "o_proj": (2048, 6144), "gate_up": (6144, 1536), "mlp_down": (1536, 6144)}  # K, N
ROWS = (1, 2, 4, 8, 16, 32, 64)
ROTATED_BYTES = 400 << 20
REPLAYS = 15


def copies_for(weight_bytes):
    return ROTATED_BYTES // weight_bytes + 1


def median_us(calls):
    """Microseconds a call of `calls`, functions without arguments, replayed as one graph."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times = []
    for _ in range(REPLAYS + 2):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e3 / len(calls))
    return statistics.median(times[2:])


def relative_error(got, expected):
    return ((got.double() - expected).norm() / expected.norm()).item()
