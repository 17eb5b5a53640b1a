# SPDX-License-Identifier: Apache-2.0
"""MX-FP8 products by Triton's tl.dot_scaled, dense and grouped: the baseline of the system to reproduce.

On Hopper, which has no MX instruction, Triton decodes to bf16. Needs triton 3.4 or newer.
"""
import torch
import triton
import triton.language as tl

from timed_calls import Declined, Incorrect, TimedCalls, check

# BLOCK_M, BLOCK_N, BLOCK_K, warps, pipeline stages (None: Triton's default)
STOCK = (64, 128, 128, 8, None)
SWEEP = ((16, 32, 256, 4, None), (16, 32, 128, 4, None), (16, 64, 128, 4, None), (32, 32, 128, 4, None),
         (64, 32, 128, 4, None), (64, 64, 128, 4, None), STOCK)
SAMPLES_OF_A_SWEEP = 5


def retuned(k):
    """The tiles that vLLM's MX-FP8 linear layers choose for up to 64 rows."""
    if k % 1024 == 0:
        return (16, 16, 1024, 2, 2)
    if k % 512 == 0:
        return (16, 16, 512, 2, 3)
    if k % 256 == 0:
        return (16, 32, 256, 4, 3)
    return (16, 32, 128, 4, 3)


@triton.jit(do_not_specialize=["m"])
def dense_product(a, a_scale, b, b_scale, c, m, n, k, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
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
    tl.store(c + rows[:, None] * n + columns[None, :], total.to(c.dtype.element_ty), mask=keep)


@triton.jit(do_not_specialize=["slots", "a_div"])
def grouped_product(a, a_scale, b, b_scale, c, slot_of_entry, expert_of_block, slot_weight, slots, a_div, n, k,
                    WEIGHTED: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    block = tl.program_id(1)
    expert = tl.load(expert_of_block + block).to(tl.int64)
    slot = tl.load(slot_of_entry + block * BLOCK_M + tl.arange(0, BLOCK_M))
    here = slot < slots
    rows = slot // a_div
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    ks = tl.arange(0, BLOCK_K)
    blocks = tl.arange(0, BLOCK_K // 32)
    b += expert * n * k
    b_scale += expert * n * (k // 32)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for first in range(0, k, BLOCK_K):
        x = tl.load(a + rows[:, None] * k + first + ks[None, :], mask=here[:, None], other=0.0)
        w = tl.load(b + columns[None, :] * k + first + ks[:, None], mask=columns[None, :] < n, other=0.0)
        at = first // 32 + blocks[None, :]
        x_scale = tl.load(a_scale + rows[:, None] * (k // 32) + at, mask=here[:, None], other=127)
        w_scale = tl.load(b_scale + columns[:, None] * (k // 32) + at, mask=columns[:, None] < n, other=127)
        total = tl.dot_scaled(x, x_scale, "e4m3", w, w_scale, "e4m3", total)
    if WEIGHTED:
        total = total * tl.load(slot_weight + slot, mask=here, other=0.0)[:, None]
    keep = here[:, None] & (columns[None, :] < n)
    tl.store(c + slot[:, None] * n + columns[None, :], total.to(c.dtype.element_ty), mask=keep)


def random_mx(rows, k):
    codes = torch.randn(rows, k, device="cuda").clamp(-4, 4).to(torch.float8_e4m3fn)
    return codes, torch.randint(120, 130, (rows, k // 32), device="cuda", dtype=torch.uint8)


def random_experts(experts, n, k):
    codes = torch.empty(experts, n, k, device="cuda", dtype=torch.float8_e4m3fn)
    scales = torch.empty(experts, n, k // 32, device="cuda", dtype=torch.uint8)
    for expert in range(experts):
        codes[expert], scales[expert] = random_mx(n, k)
    return codes, scales


def decode(codes, scales):
    return codes.double() * torch.exp2(scales.double() - 127).repeat_interleave(32, dim=-1)


def describe(config):
    block_m, block_n, block_k, warps, stages = config
    return f"{block_m}x{block_n}x{block_k}, {warps} warps" + (f", {stages} stages" if stages else "")


def launch_options(config):
    block_m, block_n, block_k, warps, stages = config
    options = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k, "num_warps": warps}
    return {**options, "num_stages": stages} if stages else options


class Dense:
    """A dense product on random operands, by any configuration."""

    def __init__(self, problem, conditions, kept):
        self.m, self.n, self.k = (problem[x] for x in "mnk")
        self.weight_bytes = self.n * self.k * 33 // 32
        self.weights = kept("mx", lambda: random_mx(self.n, self.k), conditions.copies(self.weight_bytes))
        self.a, self.a_scale = random_mx(self.m, self.k)
        self.c = torch.empty(self.m, self.n, device="cuda", dtype=output_type(problem))
        self.expected = decode(self.a, self.a_scale) @ decode(*self.weights[0]).T

    def call(self, config, weight):
        block_m, block_n = config[:2]
        grid = (triton.cdiv(self.n, block_n), triton.cdiv(self.m, block_m))
        dense_product[grid](self.a, self.a_scale, *weight, self.c, self.m, self.n, self.k, **launch_options(config))

    def check(self):
        return check(self.c, self.expected)


class Grouped:
    """A grouped product on random operands; every expert's slots are padded to whole blocks, as its kernels want them."""

    CHECKED_SLOTS = 8

    def __init__(self, problem, conditions, kept):
        self.n, self.k, self.a_div = (problem[x] for x in ("n", "k", "a_div"))
        self.weighted = problem["weighted"]
        self.expert_of_slot = problem["expert_of_slot"]
        self.slots = len(self.expert_of_slot)
        experts = max(self.expert_of_slot) + 1
        self.weight_bytes = experts * self.n * self.k * 33 // 32
        self.weights = kept(f"{experts} experts", lambda: random_experts(experts, self.n, self.k),
                            conditions.copies(self.weight_bytes))
        self.a, self.a_scale = random_mx(problem["m"], self.k)
        self.slot_weight = torch.rand(self.slots, device="cuda") + 0.5
        self.c = torch.empty(self.slots, self.n, device="cuda", dtype=output_type(problem))
        self.routing = {}

    def routed(self, block_m):
        """Slots by blocks of one expert, padded with the number of slots, and the expert of each block."""
        if block_m not in self.routing:
            entries, experts = [], []
            for expert in range(max(self.expert_of_slot) + 1):
                mine = [slot for slot, owner in enumerate(self.expert_of_slot) if owner == expert]
                blocks = -(-len(mine) // block_m)
                entries += mine + [self.slots] * (blocks * block_m - len(mine))
                experts += [expert] * blocks
            self.routing[block_m] = [torch.tensor(x, device="cuda", dtype=torch.int32) for x in (entries, experts)]
        return self.routing[block_m]

    def call(self, config, weight):
        block_m, block_n = config[:2]
        entries, experts = self.routed(block_m)
        grid = (triton.cdiv(self.n, block_n), len(experts))
        grouped_product[grid](self.a, self.a_scale, *weight, self.c, entries, experts, self.slot_weight, self.slots,
                              self.a_div, self.n, self.k, WEIGHTED=self.weighted, **launch_options(config))

    def check(self):
        codes, scales = self.weights[0]
        routed = [slot for slot, expert in enumerate(self.expert_of_slot) if expert >= 0]
        worst = 0.0
        for slot in routed[:: -(-len(routed) // self.CHECKED_SLOTS)] + routed[-1:]:
            expert, row = self.expert_of_slot[slot], slot // self.a_div
            expected = decode(self.a[row], self.a_scale[row]) @ decode(codes[expert], scales[expert]).T
            if self.weighted:
                expected = expected * self.slot_weight[slot].double()
            worst = max(worst, check(self.c[slot], expected))
        return worst


def output_type(problem):
    return {"bf16": torch.bfloat16, "f32": torch.float32}[problem["output"]]


class TritonProduct:
    """\\param choose  the configurations to try for a k; the fastest is kept"""

    def __init__(self, what, choose):
        self.what, self.choose = what, choose

    def title(self):
        return f"Triton {triton.__version__} dot_scaled, {self.what}"

    def prepare(self, problem, conditions, kept):
        if problem["activation"] != "mx":
            raise Declined(f"it takes mx activations, not {problem['activation']}")
        if problem.get("epilogue", "none") != "none":
            raise Declined(f"it has no {problem['epilogue']} epilogue")
        configs = [config for config in self.choose(problem["k"]) if problem["k"] % config[2] == 0]
        if not configs:
            raise Declined(f"no tile of it divides k={problem['k']}")
        product = (Dense if problem["operation"] == "dense" else Grouped)(problem, conditions, kept)
        best, reasons = None, []
        for config in configs:
            try:
                product.c.fill_(float("nan"))
                product.call(config, product.weights[0])
                error = product.check()
                calls = TimedCalls([lambda w=weight: product.call(config, w) for weight in product.weights], conditions)
                seconds = calls.median(SAMPLES_OF_A_SWEEP) if len(configs) > 1 else 0.0
            except Incorrect:
                raise
            except Exception as reason:  # a configuration that does not compile or fit
                torch.cuda.synchronize()
                reasons.append(f"{describe(config)}: {(str(reason).splitlines() or [repr(reason)])[0][:120]}")
                continue
            if best is None or seconds < best[0]:
                best = (seconds, calls, f"{describe(config)}, relative error {error:.1e}")
        if best is None:
            raise Declined("; ".join(reasons))
        failed = f"; failed: {'; '.join(reasons)}" if reasons else ""
        return best[1], product.weight_bytes, best[2] + failed


PRODUCTS = {
    "triton": lambda: TritonProduct("64x128x128, 8 warps", lambda k: (STOCK,)),
    "triton_best": lambda: TritonProduct(f"best of {len(SWEEP) + 1} tiles", lambda k: (*SWEEP, retuned(k))),
    "triton_retuned": lambda: TritonProduct("tiles chosen by k", lambda k: (retuned(k),)),
}
