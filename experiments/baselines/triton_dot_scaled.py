#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times Triton's tl.dot_scaled on the seed's 28 dense cells, for comparison with this project's kernels on the same GPU.

Same protocol as `millet run --protocol cold`: one CUDA (or HIP) graph whose calls rotate over copies of the weights of more than
400 MB in total, median of its replays, divided by its calls. One JSON line a cell and configuration:
"stock" is 64 x 128 x 128 tiles with 8 warps, the baseline of the system to reproduce; the others are a small sweep.
Needs torch and triton 3.4 or newer. On Hopper, which has no MX instruction, Triton decodes to bf16.
"""
import json
import statistics

import torch
import triton
import triton.language as tl

SHAPES = {"qkv": (6144, 2304), "o_proj": (2048, 6144), "gate_up": (6144, 1536), "mlp_down": (1536, 6144)}  # K, N
ROWS = (1, 2, 4, 8, 16, 32, 64)
STOCK = (64, 128, 128, 8)  # BLOCK_M, BLOCK_N, BLOCK_K, warps
SWEEP = ((16, 32, 256, 4), (16, 32, 128, 4), (16, 64, 128, 4), (32, 32, 128, 4), (64, 32, 128, 4), (64, 64, 128, 4))
ROTATED_BYTES = 400 << 20
REPLAYS = 15


@triton.jit
def product(a, a_scale, b, b_scale, c, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    ks = tl.arange(0, BLOCK_K)
    blocks = tl.arange(0, BLOCK_K // 32)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for first in range(0, k, BLOCK_K):
        x = tl.load(a + rows[:, None] * k + first + ks[None, :], mask=rows[:, None] < m, other=0.0)
        w = tl.load(b + columns[None, :] * k + first + ks[:, None], mask=columns[None, :] < n, other=0.0)
        at = first // 32 + blocks[None, :]
        x_scale = tl.load(a_scale + rows[:, None] * (k // 32) + at, mask=rows[:, None] < m, other=127)
        w_scale = tl.load(b_scale + columns[:, None] * (k // 32) + at, mask=columns[:, None] < n, other=127)
        total = tl.dot_scaled(x, x_scale, "e4m3", w, w_scale, "e4m3", total)
    keep = (rows[:, None] < m) & (columns[None, :] < n)
    tl.store(c + rows[:, None] * n + columns[None, :], total.to(tl.bfloat16), mask=keep)


def random_mx(rows, k):
    codes = torch.randn(rows, k, device="cuda").clamp(-4, 4).to(torch.float8_e4m3fn)
    scales = torch.randint(120, 130, (rows, k // 32), device="cuda", dtype=torch.uint8)
    return codes, scales


def decode(codes, scales):
    return codes.double() * torch.exp2(scales.double() - 127).repeat_interleave(32, dim=1)


def measure(m, n, k, config):
    block_m, block_n, block_k, warps = config
    copies = ROTATED_BYTES // (n * k) + 1
    weights = [random_mx(n, k)]
    weights += [(weights[0][0].clone(), weights[0][1].clone()) for _ in range(copies - 1)]
    a, a_scale = random_mx(m, k)
    c = torch.full((m, n), float("nan"), device="cuda", dtype=torch.bfloat16)
    grid = (triton.cdiv(n, block_n), triton.cdiv(m, block_m))

    def call(weight):
        product[grid](a, a_scale, weight[0], weight[1], c, m, n, k, BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k,
                      num_warps=warps)

    call(weights[0])
    expected = decode(a, a_scale) @ decode(*weights[0]).T
    error = ((c.double() - expected).norm() / expected.norm()).item()
    if not error < 1e-2:
        raise RuntimeError(f"m={m} n={n} k={k} {config}: relative error {error}")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for weight in weights:
            call(weight)
    times = []
    for _ in range(REPLAYS + 2):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e3 / copies)
    return statistics.median(times[2:]), error


def main():
    for label, (k, n) in SHAPES.items():
        for m in ROWS:
            for config in (STOCK, *SWEEP):
                line = {"label": label, "m": m, "n": n, "k": k, "config": list(config), "stock": config == STOCK,
                        "device": torch.cuda.get_device_name(), "triton": triton.__version__}
                try:
                    line["median_us"], line["relative_error"] = measure(m, n, k, config)
                except Exception as reason:  # a configuration that does not compile or fit is a line, not the end
                    line["failed"] = str(reason).splitlines()[0][:200]
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
