#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times Triton's tl.dot_scaled on the seed's 28 dense cells, for comparison with this project's kernels on the same GPU.

The protocol is that of `millet run --protocol cold` (cold_graph.py). One JSON line a cell and configuration:
"stock" is 64 x 128 x 128 tiles with 8 warps, the baseline of the system to reproduce; the others are a small sweep.
Needs torch and triton 3.4 or newer. On Hopper, which has no MX instruction, Triton decodes to bf16.
"""
import json

import torch
import triton
import triton.language as tl

from cold_graph import ROWS, SHAPES, copies_for, median_us, relative_error

STOCK = (64, 128, 128, 8)  # BLOCK_M, BLOCK_N, BLOCK_K, warps
SWEEP = ((16, 32, 256, 4), (16, 32, 128, 4), (16, 64, 128, 4), (32, 32, 128, 4), (64, 32, 128, 4), (64, 64, 128, 4))


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
    copies = copies_for(n * k)
    weights = [random_mx(n, k)]
    weights += [(weights[0][0].clone(), weights[0][1].clone()) for _ in range(copies - 1)]
    a, a_scale = random_mx(m, k)
    c = torch.full((m, n), float("nan"), device="cuda", dtype=torch.bfloat16)
    grid = (triton.cdiv(n, block_n), triton.cdiv(m, block_m))

    def call(weight):
        product[grid](a, a_scale, weight[0], weight[1], c, m, n, k, BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k,
                      num_warps=warps)

    call(weights[0])
    error = relative_error(c, decode(a, a_scale) @ decode(*weights[0]).T)
    if not error < 1e-2:
        raise RuntimeError(f"m={m} n={n} k={k} {config}: relative error {error}")
    return median_us([lambda weight=weight: call(weight) for weight in weights]), error


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
