#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times a grouped (MoE) product on Triton's tl.dot_scaled over the seed's MoE cases, for comparison with this project's kernels on
the same GPU.

The protocol is that of `millet run --protocol cold` (cold_graph.py), the routing of a case is the driver's with seed 1. One JSON
line a case and configuration: "stock" is 64 x 128 x 128 tiles with 8 warps, as for the dense cells, on routing blocks of 64; the
others are a small sweep, each on routing blocks of its BLOCK_M. Needs torch and triton 3.4 or newer. On Hopper, which has no MX
instruction, Triton decodes to bf16.
"""
import json

import torch
import triton
import triton.language as tl

from cold_graph import copies_for, median_us, relative_error
from triton_dot_scaled import decode, random_mx

# label, experts, tokens, top_k, n, k, a_div, weighted: preset seed-moe.
CASES = (("moe_gemm1", 128, 4, 4, 1536, 6144, 4, False), ("moe_gemm2", 128, 8, 1, 6144, 768, 1, True),
         ("moe_gemm2", 128, 8, 1, 6144, 768, 1, False), ("moe_gemm1", 32, 4, 4, 1536, 6144, 4, False),
         ("moe_gemm2", 64, 8, 1, 6144, 768, 1, True), ("moe_gemm1", 128, 16, 4, 1536, 6144, 4, False),
         ("moe_gemm1", 32, 4, 4, 768, 6144, 4, False))
STOCK = (64, 128, 128, 8)  # BLOCK_M, BLOCK_N, BLOCK_K, warps
SWEEP = ((16, 32, 256, 4), (16, 32, 128, 4), (16, 64, 128, 4), (16, 64, 256, 4), (16, 128, 128, 8))
WORD = (1 << 64) - 1


def next_word(state):
    """splitmix64: the next state and a word."""
    state = (state + 0x9E3779B97F4A7C15) & WORD
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return state, z ^ (z >> 31)


def random_top_k(tokens, top_k, experts, seed=1):
    """Expert of each slot, as the driver draws them."""
    _, mixed = next_word(seed)
    _, state = next_word(mixed ^ ((4 + 0x632BE59BD9B4E019) & WORD))
    ids = []
    # mix_seed gives the word, and the deck's state starts there.
    for _ in range(tokens):
        deck = list(range(experts))
        for choice in range(top_k):
            state, word = next_word(state)
            other = choice + word % (experts - choice)
            deck[choice], deck[other] = deck[other], deck[choice]
            ids.append(deck[choice])
    return ids


def route(ids, block_m):
    """Slots by expert, each expert's padded to whole blocks; the expert of each block, numbered among those that are used."""
    used = sorted(set(ids))
    slots, experts = [], []
    for number, expert in enumerate(used):
        mine = [slot for slot, of in enumerate(ids) if of == expert]
        mine += [len(ids)] * (-len(mine) % block_m)
        slots += mine
        experts += [number] * (len(mine) // block_m)
    return slots, experts, [used.index(expert) for expert in ids]


@triton.jit
def product(a, a_scale, b, b_scale, c, slot_weights, sorted_ids, expert_ids, used_entries, slots, n, k, a_div, WEIGHTED: tl.constexpr,
            BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    block = tl.program_id(1)
    if block * BLOCK_M >= tl.load(used_entries):
        return
    expert = tl.load(expert_ids + block).to(tl.int64)
    slot = tl.load(sorted_ids + block * BLOCK_M + tl.arange(0, BLOCK_M))
    there = slot < slots
    rows = (slot // a_div)[:, None]
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    ks = tl.arange(0, BLOCK_K)
    blocks = tl.arange(0, BLOCK_K // 32)
    b += expert * n * k
    b_scale += expert * n * (k // 32)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for first in range(0, k, BLOCK_K):
        x = tl.load(a + rows * k + first + ks[None, :], mask=there[:, None], other=0.0)
        w = tl.load(b + columns[None, :] * k + first + ks[:, None], mask=columns[None, :] < n, other=0.0)
        at = first // 32 + blocks[None, :]
        x_scale = tl.load(a_scale + rows * (k // 32) + at, mask=there[:, None], other=127)
        w_scale = tl.load(b_scale + columns[:, None] * (k // 32) + at, mask=columns[:, None] < n, other=127)
        total = tl.dot_scaled(x, x_scale, "e4m3", w, w_scale, "e4m3", total)
    if WEIGHTED:
        total *= tl.load(slot_weights + slot, mask=there, other=0.0)[:, None]
    keep = there[:, None] & (columns[None, :] < n)
    tl.store(c + slot[:, None].to(tl.int64) * n + columns[None, :], total.to(tl.bfloat16), mask=keep)


class Case:
    """Operands of a case; the weights of the experts that its routing uses, in copies."""

    def __init__(self, experts, tokens, top_k, n, k, a_div, weighted):
        self.n, self.k, self.a_div, self.weighted = n, k, a_div, weighted
        self.ids = random_top_k(tokens, top_k, experts)
        self.slots = len(self.ids)
        self.used = len(set(self.ids))
        codes, scales = random_mx(self.used * n, k)
        self.weights = [(codes, scales)]
        self.weights += [(codes.clone(), scales.clone()) for _ in range(copies_for(self.used * n * k) - 1)]
        self.a, self.a_scale = random_mx(self.slots // a_div, k)
        self.slot_weights = torch.rand(self.slots, device="cuda") + 0.1
        self.c = torch.empty((self.slots, n), device="cuda", dtype=torch.bfloat16)

    def expected(self):
        tokens = decode(self.a, self.a_scale)
        number = route(self.ids, 1)[2]
        rows = []
        for slot in range(self.slots):
            part = slice(number[slot] * self.n, (number[slot] + 1) * self.n)
            codes, scales = self.weights[0]
            row = decode(codes[part], scales[part]) @ tokens[slot // self.a_div]
            rows.append(row * self.slot_weights[slot].double() if self.weighted else row)
        return torch.stack(rows)

    def measure(self, config, expected):
        block_m, block_n, block_k, warps = config
        slots, experts, _ = route(self.ids, block_m)
        sorted_ids = torch.tensor(slots, device="cuda", dtype=torch.int32)
        expert_ids = torch.tensor(experts, device="cuda", dtype=torch.int32)
        used_entries = torch.tensor([len(slots)], device="cuda", dtype=torch.int32)
        grid = (triton.cdiv(self.n, block_n), len(experts))
        self.c.fill_(float("nan"))

        def call(weight):
            product[grid](self.a, self.a_scale, weight[0], weight[1], self.c, self.slot_weights, sorted_ids, expert_ids, used_entries,
                          self.slots, self.n, self.k, self.a_div, WEIGHTED=self.weighted, BLOCK_M=block_m, BLOCK_N=block_n,
                          BLOCK_K=block_k, num_warps=warps)

        call(self.weights[0])
        error = relative_error(self.c, expected)
        if not error < 1e-2:
            raise RuntimeError(f"{config}: relative error {error}")
        return median_us([lambda weight=weight: call(weight) for weight in self.weights]), error


def main():
    for label, experts, tokens, top_k, n, k, a_div, weighted in CASES:
        case = Case(experts, tokens, top_k, n, k, a_div, weighted)
        expected = case.expected()
        for config in (STOCK, *SWEEP):
            line = {"label": label, "experts": experts, "m": tokens, "slots": case.slots, "n": n, "k": k, "weighted": weighted,
                    "touched_experts": case.used, "config": list(config), "stock": config == STOCK,
                    "device": torch.cuda.get_device_name(), "triton": triton.__version__}
            try:
                line["median_us"], line["relative_error"] = case.measure(config, expected)
            except Exception as reason:  # a configuration that does not compile or fit is a line, not the end
                line["failed"] = str(reason).splitlines()[0][:200]
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
