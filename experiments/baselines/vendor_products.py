#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times the vendor's products on the seed's 28 dense cells: cuBLASLt on e4m3 with one scale a tensor, and cuBLAS on bf16.

The first does less than an MX-FP8 product (no scale of a block, and M below 16 is padded to 16); the second reads twice the
bytes. The protocol is that of `millet run --protocol cold` (cold_graph.py). One JSON line a cell and product. Needs torch 2.4 or
newer.
"""
import json

import torch

from cold_graph import ROWS, SHAPES, copies_for, median_us, relative_error

LEAST_ROWS_OF_FP8 = 16


def fp8_per_tensor(m, n, k):
    rows = max(m, LEAST_ROWS_OF_FP8)
    one = torch.ones((), device="cuda")
    a = torch.randn(rows, k, device="cuda").clamp(-4, 4).to(torch.float8_e4m3fn)
    weights = [torch.randn(n, k, device="cuda").clamp(-4, 4).to(torch.float8_e4m3fn)]
    weights += [weights[0].clone() for _ in range(copies_for(n * k) - 1)]

    def call(weight):
        return torch._scaled_mm(a, weight.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

    error = relative_error(call(weights[0]), a.double() @ weights[0].double().T)
    return [lambda weight=weight: call(weight) for weight in weights], error


def bf16(m, n, k):
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    weights = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16)]
    weights += [weights[0].clone() for _ in range(copies_for(2 * n * k) - 1)]
    c = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)

    def call(weight):
        return torch.matmul(a, weight.t(), out=c)

    error = relative_error(call(weights[0]), a.double() @ weights[0].double().T)
    return [lambda weight=weight: call(weight) for weight in weights], error


def main():
    versions = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
    for label, (k, n) in SHAPES.items():
        for m in ROWS:
            for product in (fp8_per_tensor, bf16):
                line = {"label": label, "m": m, "n": n, "k": k, "product": product.__name__, **versions}
                calls, error = product(m, n, k)
                if not error < 1e-2:
                    raise SystemExit(f"{line}: relative error {error}")
                line.update(median_us=median_us(calls), relative_error=error)
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
