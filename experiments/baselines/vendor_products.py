# SPDX-License-Identifier: Apache-2.0
"""The vendor's products through torch: cuBLASLt on e4m3 with one scale a tensor, and cuBLAS on bf16.

The first does less than an MX-FP8 product (it has no scale of a block); the second reads twice the bytes.
"""
import torch

from timed_calls import Declined, TimedCalls, check

LEAST_ROWS_OF_FP8 = 16


def library():
    return f"hipBLASLt, ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"


def _dense(problem):
    if problem["operation"] != "dense":
        raise Declined("a product with one weight matrix for each expert is not one of the vendor's")


class Fp8PerTensor:
    """M below 16 is padded to 16, the least that the library takes."""

    def title(self):
        return f"cuBLASLt e4m3, one scale a tensor ({library()})"

    def prepare(self, problem, conditions, kept):
        _dense(problem)
        m, n, k = (problem[x] for x in "mnk")
        if problem["activation"] != "mx":
            raise Declined(f"it takes e4m3 activations, not {problem['activation']}")
        if n % 16 or k % 16:
            raise Declined("n and k must be multiples of 16")
        rows = max(m, LEAST_ROWS_OF_FP8)
        out = {"bf16": torch.bfloat16, "f32": torch.float32}[problem["output"]]
        one = torch.ones((), device="cuda")
        a = torch.randn(rows, k, device="cuda").clamp(-4, 4).to(torch.float8_e4m3fn)
        weights = kept("e4m3", lambda: torch.randn(n, k, device="cuda").clamp(-4, 4).to(torch.float8_e4m3fn),
                       conditions.copies(n * k))

        def call(weight):
            return torch._scaled_mm(a, weight.t(), scale_a=one, scale_b=one, out_dtype=out)

        error = check(call(weights[0]), a.double() @ weights[0].double().T)
        detail = f"m={rows}, relative error {error:.1e}"
        return TimedCalls([lambda w=weight: call(w) for weight in weights], conditions), n * k, detail


class Bf16:
    def title(self):
        return f"cuBLAS bf16 ({library()})"

    def prepare(self, problem, conditions, kept):
        _dense(problem)
        m, n, k = (problem[x] for x in "mnk")
        if problem["output"] != "bf16":
            raise Declined("its output is bf16")
        a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
        weights = kept("bf16", lambda: torch.randn(n, k, device="cuda", dtype=torch.bfloat16),
                       conditions.copies(2 * n * k))
        c = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)

        def call(weight):
            return torch.matmul(a, weight.t(), out=c)

        error = check(call(weights[0]), a.double() @ weights[0].double().T)
        detail = f"relative error {error:.1e}"
        return TimedCalls([lambda w=weight: call(w) for weight in weights], conditions), 2 * n * k, detail


PRODUCTS = {"cublaslt": Fp8PerTensor, "bf16": Bf16}
